"""Looks for what notifications tell: paused queues, and running jobs that were cancelled.

The only way to learn of them in poll-only mode; else it makes up for notifications that were lost while the connection was.
Mirrors ``pollForSettingChanges`` and ``pollForJobCancellations`` of River's ``producer.go``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from rivermill.client_queues import ClientQueues
from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, Connection, SharedConnection
from rivermill.executor import Executor
from rivermill.limits import LIMITED_SQL
from rivermill.pauses import Pauses
from rivermill.producer import Producer
from rivermill.schema import Schema

logger = logging.getLogger("rivermill.runtime")


@dataclass(frozen=True, slots=True)
class ControlPollTimings:
    """Seconds between two looks, without notifications and with them; the defaults are River's."""

    poll_only: float = 2.0
    listening: float = 60.0


def cancelled_sql(schema: Schema) -> str:
    """Those of the jobs ``$1`` that run and were asked to be cancelled."""
    return (
        f"SELECT id FROM {schema.table('river_job')} "
        "WHERE id = ANY($1::bigint[]) AND (state = 'running') IS TRUE AND metadata ? 'cancel_attempted_at'"
    )


class ControlPoll:
    """Looks at the tables at intervals.

    Args:
        settings: the schema, and whether there are notifications.
        queues: the client's queues.
        shared: the connection for the statements.
        pauses: told which queues are paused.
        producer: told which queues are limited.
        executor: told which jobs are cancelled.
        timings: intervals.
    """

    def __init__(
        self,
        settings: Settings,
        queues: ClientQueues,
        shared: SharedConnection,
        pauses: Pauses,
        producer: Producer,
        executor: Executor,
        timings: ControlPollTimings,
    ) -> None:
        self._queues = queues
        self._shared = shared
        self._pauses = pauses
        self._producer = producer
        self._executor = executor
        self._interval = timings.poll_only if settings.poll_only else timings.listening
        self._paused_sql = (
            f"SELECT name, paused_at IS NOT NULL AS paused, {LIMITED_SQL} AS limited FROM "
            f"{settings.schema.table('river_queue')} "
            "WHERE name = ANY($1::text[])"
        )
        self._cancelled_sql = cancelled_sql(settings.schema)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(1.0, 1.1))
            try:
                async with self._shared.acquire() as connection:
                    await self._look_at_queues(connection)
                    await self._look_at_jobs(connection)
            except DATABASE_ERRORS as error:
                logger.warning("queues and cancellations could not be looked at", extra={"error": str(error)})

    async def _look_at_queues(self, connection: Connection) -> None:
        for row in await connection.fetch(self._paused_sql, list(self._queues)):
            self._pauses.set(row["name"], paused=row["paused"])
            self._producer.set_limited(row["name"], limited=row["limited"])

    async def _look_at_jobs(self, connection: Connection) -> None:
        # Attempts, not ids: by the time of the answer a job may be at its next attempt here.
        attempts = self._executor.attempts()
        if attempts:
            for row in await connection.fetch(self._cancelled_sql, list(attempts)):
                self._executor.cancel_attempt(attempts[row["id"]])
