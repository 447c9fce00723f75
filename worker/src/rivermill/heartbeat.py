"""The client's row in ``rivermill_client``: who it is, that it lives, and whether it shall claim.

The row is the truth; a notification on ``rivermill_control`` only says "read it now".
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rivermill.client_queues import ClientQueues
from rivermill.config import QueueConfig, Settings
from rivermill.db import Connection


class ClientState(StrEnum):
    """What a client does, and (the first two) what it can be asked to do."""

    ACCEPTING = "accepting"
    CORDONED = "cordoned"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a beat reports.

    Attributes:
        attempts: those that ended since the start, by queue: all, and those with an error.
        reports: times at which failures were worth a report.
    """

    busy: int
    state: ClientState
    attempts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    reports: int = 0


class Heartbeat:
    """Writes the row; its methods run on the listener thread's connection.

    Args:
        settings: who this is.
        queues: the queues and the slots; read on the listener's thread.
        version: of this library.
    """

    def __init__(self, settings: Settings, queues: ClientQueues, version: str) -> None:
        self._settings = settings
        self._queues = queues
        self._table = settings.schema.table("rivermill_client")
        self._channel = settings.schema.channel("rivermill_control")
        self._version = version
        self._told: tuple[ClientState, int] | None = None
        self.enabled = True

    async def beat(self, connection: Connection, vitals: Vitals) -> ClientState:
        """Write the row, making it if it is not there, and tell what this client shall do.

        Without the table (a database that only River's own migrations made) there is nothing to write, and the answer is
        always ``accepting``.
        """
        settings = self._settings
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", self._table):
            self.enabled = False
            return ClientState.ACCEPTING
        self.enabled = True
        queues = {name: _queue(name, config, vitals) for name, config in self._queues.configs.items()}
        wanted = await connection.fetchval(
            f"INSERT INTO {self._table} AS client (client_id, namespace, pod_name, pod_uid, host, pid, version, queues, "
            "slots, busy, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11) "
            "ON CONFLICT (client_id) DO UPDATE SET busy = excluded.busy, state = excluded.state, "
            "queues = excluded.queues, slots = excluded.slots, last_seen_at = now() "
            "RETURNING wanted_state",
            settings.client_id,
            settings.pod.namespace,
            settings.pod.name,
            settings.pod.uid,
            socket.gethostname(),
            os.getpid(),
            self._version,
            json.dumps(queues),
            self._queues.total_slots,
            vitals.busy,
            vitals.state.value,
        )
        # Operators look when they are told to, and else every few seconds.
        if self._told != (vitals.state, vitals.reports):
            await self._tell(connection, vitals.state)
            self._told = (vitals.state, vitals.reports)
        return ClientState(wanted)

    async def leave(self, connection: Connection) -> None:
        """Delete the row."""
        if self.enabled:
            await connection.execute(f"DELETE FROM {self._table} WHERE client_id = $1", self._settings.client_id)

    async def _tell(self, connection: Connection, state: ClientState) -> None:
        payload = {"action": "state", "client_id": self._settings.client_id, "state": state.value}
        await connection.execute("SELECT pg_notify($1, $2)", self._channel, json.dumps(payload))


def _queue(name: str, config: QueueConfig, vitals: Vitals) -> dict[str, int]:
    ended, failed = vitals.attempts.get(name, (0, 0))
    return {"max_workers": config.max_workers, "priority": config.priority, "ended": ended, "failed": failed}
