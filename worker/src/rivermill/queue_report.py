"""Keeps the ``river_queue`` rows of the queues that a client works. Mirrors a part of River's ``producer.go``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from rivermill.client_queues import ClientQueues
from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.errors import MigrationError
from rivermill.limits import KEY, LIMITED_SQL, RATE_KEY
from rivermill.producer import Producer
from rivermill.queues import QueueAdmin

_INTERVAL_SECONDS = 600.0

logger = logging.getLogger("rivermill.runtime")


class QueueReport:
    """Upserts the queues' rows, so that they can be seen and paused, and have the limits of the settings.

    Args:
        settings: the schema, and limits of queues.
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
        self._admin = QueueAdmin(settings.schema)
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
            MigrationError: the schema has no River tables, or none for the rate limits of the settings.
        """
        for name, row in (await self._introduce(sorted(self._queues.configs))).items():
            self._producer.set_paused(name, paused=row["paused"])
            self._producer.set_limited(name, limited=row["limited"])
        unknown = sorted({*self._settings.concurrency_limits, *self._settings.rate_limits} - {*self._queues.configs})
        if unknown:
            logger.warning("settings have limits for queues that this client does not work", extra={"queues": unknown})

    async def introduce(self, queue: str) -> Mapping[str, bool]:
        """Report one queue that is new here; returns whether it is ``paused``, and whether ``limited``.

        Raises:
            DatabaseUnavailableError: there is no connection.
            MigrationError: the settings have a rate limit for it, and there is no table for that.
        """
        return (await self._introduce([queue]))[queue]

    async def _introduce(self, queues: list[str]) -> dict[str, Mapping[str, bool]]:
        """Report queues, and give them the limits that the settings have for them."""
        rows = await self._upsert(queues)
        for name in queues:
            if name in self._settings.concurrency_limits or name in self._settings.rate_limits:
                await self._limit(name)
                rows[name] = {**rows[name], "limited": True}
        return rows

    async def _limit(self, name: str) -> None:
        """Write a queue's limits where its row says otherwise."""
        concurrency, rate = self._settings.concurrency_limits.get(name), self._settings.rate_limits.get(name)
        async with self._shared.acquire() as connection:
            metadata = (await self._admin.get(connection, name)).metadata
            metadata = metadata if isinstance(metadata, Mapping) else {}
            if concurrency is not None and metadata.get(KEY) != concurrency.to_metadata():
                await self._admin.limit(connection, name, concurrency)
            if rate is not None and metadata.get(RATE_KEY) != rate.to_metadata():
                await self._admin.limit_rate(connection, name, rate)

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
