"""Tells every client when room was made in a limited queue, so that none waits for its next poll."""

from __future__ import annotations

import asyncio
import json
import logging

from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.producer import Producer

_PAUSE_SECONDS = 0.05

logger = logging.getLogger("rivermill.limits")


class LimitWatch:
    """Notifies as an insert would.

    Args:
        settings: the schema.
        shared: the connection for the statement.
        producer: knows which queues are limited.
    """

    def __init__(self, settings: Settings, shared: SharedConnection, producer: Producer) -> None:
        self._channel = settings.schema.channel("river_insert")
        self._shared = shared
        self._producer = producer
        self._queues: set[str] = set()
        self._wake = asyncio.Event()

    def flushed(self, backlog: int) -> None:
        """Outcomes were written, and so many are still to be."""
        queues = self._producer.room_made(backlog=backlog)
        if queues:
            self._queues.update(queues)
            self._wake.set()

    async def run(self) -> None:
        """Notify until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            payloads, self._queues = [json.dumps({"queue": queue}) for queue in sorted(self._queues)], set()
            try:
                async with self._shared.acquire() as connection:
                    await connection.execute(
                        "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", self._channel, payloads
                    )
            except DATABASE_ERRORS as error:
                logger.warning("others were not told of room in a limited queue", extra={"error": str(error)})
            await asyncio.sleep(_PAUSE_SECONDS)
