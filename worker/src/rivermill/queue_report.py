"""Keeps the ``river_queue`` rows of the queues that a client works. Mirrors a part of River's ``producer.go``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial

from rivermill.client_queues import ClientQueues
from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.errors import MigrationError
from rivermill.events import Subscribers
from rivermill.limits import LIMITED_SQL
from rivermill.producer import Producer

_INTERVAL_SECONDS = 600.0

logger = logging.getLogger("rivermill.runtime")


class QueueReport:
    """Upserts the queues' rows, so that they can be seen and paused, and learns which are paused.

    Args:
        settings: the schema.
        queues: the client's queues.
        shared: the connection for the statement.
        producer: told which queues are paused.
        subscribers: told which queues were paused or resumed without a notification having come.
    """

    def __init__(
        self,
        settings: Settings,
        queues: ClientQueues,
        shared: SharedConnection,
        producer: Producer,
        subscribers: Subscribers,
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._shared = shared
        self._producer = producer
        self._subscribers = subscribers

    async def run(self) -> None:
        """Report every ten minutes until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                for queue, paused in (await self.report()).items():
                    self._producer.after_claim(partial(self._subscribers.emit_paused, [queue], paused=paused))
            except (MigrationError, *DATABASE_ERRORS) as error:
                logger.warning("queues could not be reported", extra={"error": str(error)})

    async def report(self) -> dict[str, bool]:
        """Report now.

        Returns:
            The queues that were paused or resumed, and whether they are paused now.

        Raises:
            DatabaseUnavailableError: there is no connection.
            MigrationError: the schema has no River tables.
        """
        rows = await self._upsert(sorted(self._queues.configs))
        paused = {name: row["paused"] for name, row in rows.items()}
        for name, row in rows.items():
            self._producer.set_limited(name, limited=row["limited"])
        return {name: is_paused for name, is_paused in paused.items() if self._producer.set_paused(name, paused=is_paused)}

    async def introduce(self, queue: str) -> Mapping[str, bool]:
        """Report one queue that is new here; returns whether it is ``paused``, and whether ``limited``.

        Raises:
            DatabaseUnavailableError: there is no connection.
        """
        return (await self._upsert([queue]))[queue]

    async def _upsert(self, queues: list[str]) -> dict[str, Mapping[str, bool]]:
        table = self._settings.schema.table("river_queue")
        async with self._shared.acquire() as connection:
            if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
                raise MigrationError(
                    f"schema {self._settings.schema.name} has no River tables: run `rivermill migrate up` on it first"
                )
            rows = await connection.fetch(
                f"INSERT INTO {table} (name, updated_at) SELECT name, now() FROM unnest($1::text[]) AS name ORDER BY name "
                "ON CONFLICT (name) DO UPDATE SET updated_at = now() RETURNING name, "
                f"paused_at IS NOT NULL AS paused, {LIMITED_SQL} AS limited",
                queues,
            )
        return {row["name"]: row for row in rows}
