"""Rebuilds the job indexes now and then, which a busy queue bloats. Mirrors River's ``reindexer.go``."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rivermill.db import DATABASE_ERRORS, Connection, connect, pinned
from rivermill.schedules import next_turn

if TYPE_CHECKING:
    from rivermill.config import Settings

INDEXES_DEFAULT = (
    "river_job_args_index",
    "river_job_kind",
    "river_job_metadata_index",
    "river_job_pkey",
    "river_job_prioritized_fetching_index",
    "river_job_state_and_finalized_at_index",
    "river_job_unique_idx",
)
#: Looks at the clock at least this often, since a clock can be set.
_LONGEST_SLEEP = 600.0
_CLEAN_UP_SECONDS = 15.0

logger = logging.getLogger("rivermill.reindexer")


class Reindexer:
    """Rebuilds indexes on a schedule, one after the other, each with ``REINDEX INDEX CONCURRENTLY``.

    Each run has a connection of its own: a rebuild takes minutes, and the leader's other services must not wait for it.

    Args:
        settings: which indexes, when, how long one may take, and where they are.
        application_name: what ``pg_stat_activity`` shows.
    """

    def __init__(self, settings: Settings, application_name: str) -> None:
        self._settings = settings
        self._schema = settings.schema
        self._application_name = application_name

    async def run(self) -> None:
        """Rebuild until cancelled, when it is time. A rebuild that is cancelled leaves nothing behind."""
        at = self._next(datetime.now(UTC))
        while at is not None:
            while (seconds := (at - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 - nobody sets off a time of day
                await asyncio.sleep(min(seconds, _LONGEST_SLEEP))
            try:
                await self._rebuild_all()
            except DATABASE_ERRORS as error:
                logger.warning("indexes could not be rebuilt this time", extra={"error": str(error)})
            at = self._next(at)

    def _next(self, after: datetime) -> datetime | None:
        try:
            return next_turn(self._settings.reindexer_schedule, after)
        except Exception:
            logger.exception("reindexer_schedule failed: no index is rebuilt any more in this term")
            return None

    async def _rebuild_all(self) -> None:
        settings = self._settings
        connection = await connect(
            settings.dsn,
            application_name=self._application_name,
            statement_timeout=settings.reindexer_timeout,
            pooled=settings.transaction_pooler,
        )
        try:
            there = await self._names(connection)
            for name in settings.reindexer_index_names:
                if name in there:
                    await self._rebuild(connection, name)
                else:
                    logger.warning("an index to rebuild is not there", extra={"index": name})
        finally:
            await _close(connection)

    async def _rebuild(self, connection: Connection, name: str) -> None:
        left = artifacts_of(name, await self._names(connection))
        if left:
            # An earlier rebuild did not get to its end, and another would not either: that must not go on for ever.
            logger.warning("an index is not rebuilt: drop what an earlier attempt left", extra={"index": name, "left": left})
            return
        try:
            await connection.execute(f"REINDEX INDEX CONCURRENTLY {self._schema.table(name)}")
            logger.info("index rebuilt", extra={"index": name})
        except asyncio.CancelledError:
            await self._clean_up(connection, name)
            raise
        except DATABASE_ERRORS as error:
            logger.error("an index could not be rebuilt", extra={"index": name, "error": str(error)})  # noqa: TRY400
            if connection.is_closed():
                raise

    async def _clean_up(self, connection: Connection, name: str) -> None:
        """Drop what a cancelled rebuild has left, or every later one would be skipped for it."""
        try:
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                for left in artifacts_of(name, await self._names(connection)):
                    await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self._schema.table(left)}")
        except DATABASE_ERRORS as error:
            logger.warning("a cancelled rebuild has left an index to drop", extra={"index": name, "error": str(error)})

    async def _names(self, connection: Connection) -> list[str]:
        """All indexes of the schema."""
        async with pinned(connection, pooled=self._settings.transaction_pooler):
            records = await connection.fetch(
                "SELECT index.relname::text AS name FROM pg_catalog.pg_class AS index "
                "JOIN pg_catalog.pg_namespace AS space ON space.oid = index.relnamespace "
                "WHERE index.relkind = 'i' AND space.nspname = $1 ORDER BY 1",
                self._schema.name,
            )
        return [record["name"] for record in records]


def artifacts_of(index: str, names: Sequence[str]) -> list[str]:
    """Those of the names that a ``CONCURRENTLY`` rebuild of the index leaves when it does not get to its end."""
    left = re.compile(re.escape(index) + r"_cc(?:new|old)\d*")
    return [name for name in names if left.fullmatch(name)]


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=5)
    except DATABASE_ERRORS:
        connection.terminate()
