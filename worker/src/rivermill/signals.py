"""What a client does about notifications. They are hints: whatever they say can also be read from the tables."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from rivermill.executor import Executor
from rivermill.leader import Elector
from rivermill.limits import is_limited
from rivermill.pauses import Pauses
from rivermill.producer import Producer

logger = logging.getLogger("rivermill.notify")


class Signals:
    """Handles the payloads of each topic, on the main loop.

    Args:
        client_id: the client's id.
        producer: told of inserts.
        executor: told of cancelled jobs.
        elector: told of leaders that resign or shall.
        pauses: told of queues that are paused and resumed.
        beat: called when the client's row has changed.
    """

    def __init__(
        self,
        client_id: str,
        producer: Producer,
        executor: Executor,
        elector: Elector,
        pauses: Pauses,
        beat: Callable[[], None],
    ) -> None:
        self._client_id = client_id
        self._producer = producer
        self._executor = executor
        self._pauses = pauses
        self._beat = beat
        self.topics: Mapping[str, Callable[[str], None]] = {
            "river_insert": self._on_insert,
            "river_control": self._on_control,
            "river_leadership": elector.notified,
            "rivermill_control": self._on_rivermill_control,
        }

    def _on_insert(self, payload: str) -> None:
        queue = _decode(payload).get("queue")
        if isinstance(queue, str):
            self._producer.fetch_soon(queue)

    def _on_control(self, payload: str) -> None:
        message = _decode(payload)
        action, queue, job_id = message.get("action"), message.get("queue"), message.get("job_id")
        if action in ("pause", "resume") and isinstance(queue, str):
            self._pauses.set(queue, paused=action == "pause")
        elif action == "metadata_changed" and isinstance(queue, str):
            self._producer.set_limited(queue, limited=is_limited(message.get("metadata")))
        elif action == "cancel" and isinstance(job_id, int):
            self._executor.cancel(job_id)

    def _on_rivermill_control(self, payload: str) -> None:
        message = _decode(payload)
        clients = message.get("client_ids")
        if message.get("action") in ("cordon", "uncordon") and isinstance(clients, list) and self._client_id in clients:
            self._beat()


def _decode(payload: str) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        logger.warning("undecodable notification is ignored")
        return {}
    return value
