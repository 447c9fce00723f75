"""Keeps the ``river_queue`` rows of the queues that a client works. Mirrors a part of River's ``producer.go``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from rivermill.client_queues import ClientQueues
from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.errors import MigrationError
from rivermill.limits import LIMITED_SQL
from rivermill.producer import Producer

_INTERVAL_SECONDS = 600.0

logger = logging.getLogger("rivermill.runtime")


class QueueReport:
    """Upserts the queues' rows, so that they can be seen and paused.

    Args:
        settings: the schema.
        queues: the client's queues.
        shared: the connection for the statement.
        producer: told at first which queues are paused, and which are limited.
    """

    def __init__(
        self,
        settings: Settings,
        queues: ClientQueues,
        shared: SharedConnection,
        producer: Producer,
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._shared = shared
        self._producer = producer

    async def run(self) -> None:
        """Report every ten minutes until cancelled; ``ControlPoll`` looks at what the rows say."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                await self._upsert(sorted(self._queues.configs))
            except (MigrationError, *DATABASE_ERRORS) as error:
                logger.warning("queues could not be reported", extra={"error": str(error)})

    async def begin(self) -> None:
        """Report for the first time, and begin with the queues as they are: there is no event for one that is paused.

        Raises:
            DatabaseUnavailableError: there is no connection.
            MigrationError: the schema has no River tables.
        """
        for name, row in (await self._upsert(sorted(self._queues.configs))).items():
            self._producer.set_paused(name, paused=row["paused"])
            self._producer.set_limited(name, limited=row["limited"])

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
