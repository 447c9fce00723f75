"""Where a benchmark runs: a schema of its own, so that no job of anybody's is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from rivermill.client import Client
from rivermill.config import QueueConfig
from rivermill.db import Connection, connect
from rivermill.errors import ConfigError
from rivermill.migrations import LINES, Migrator
from rivermill.schema import Schema
from rivermill.worker import Workers

#: The schema of a benchmark that is given none.
DEFAULT_NAME = "rivermill_bench"
_STATEMENT_TIMEOUT = timedelta(minutes=10)


class BenchClient(Client):
    """A client that says how many of its jobs are completed in the database: events of each would slow its completions."""

    @property
    def completed(self) -> int:
        """Jobs completed since it was started; an outcome of any sort that is not written yet counts as a job that is not."""
        if self._runtime is None:
            return 0
        return self._runtime.metrics.jobs.total("outcome", "completed") - self._runtime.completer.backlog


class Place:
    """A schema with River's tables, and a connection to look at them."""

    def __init__(self, dsn: str, schema: Schema, connection: Connection) -> None:
        self._dsn = dsn
        self._schema = schema
        self._connection = connection
        table = schema.table("river_job")
        self._states_sql = f"SELECT state::text AS state, count(*) AS jobs FROM {table} GROUP BY state ORDER BY state"
        self._settle_sql = f"VACUUM ANALYZE {table}"

    def client(
        self, workers: Workers | None = None, queues: dict[str, int | QueueConfig] | None = None, **more: Any
    ) -> BenchClient:
        """A client of this schema."""
        return BenchClient(self._dsn, workers=workers, queues=queues, schema=self._schema, **more)

    async def states(self) -> dict[str, int]:
        """Jobs by state."""
        return {record["state"]: record["jobs"] for record in await self._connection.fetch(self._states_sql)}

    async def settle(self) -> None:
        """Take fresh statistics, so that every run begins alike."""
        await self._connection.execute(self._settle_sql)


@asynccontextmanager
async def new_place(dsn: str, name: str) -> AsyncIterator[Place]:
    """Make a schema for a benchmark; it is dropped at the end.

    Raises:
        ConfigError: there is such a schema.
        DatabaseUnavailableError: there is no connection.
    """
    schema = Schema(name)
    connection = await connect(dsn, application_name="rivermill bench", statement_timeout=_STATEMENT_TIMEOUT)
    try:
        try:
            await connection.execute(f'CREATE SCHEMA "{schema.name}"')
        except asyncpg.DuplicateSchemaError:
            # Anything else may be somebody's.
            left = ", or drop this one: an interrupted benchmark left it" if schema.name == DEFAULT_NAME else ""
            raise ConfigError(
                f"schema {schema.name!r} exists: a benchmark makes its own and drops it, so name one that is not there with "
                f"--schema{left}"
            ) from None
        try:
            for line in LINES:
                await Migrator(connection, schema, line).up()
            yield Place(dsn, schema, connection)
        finally:
            await connection.execute(f'DROP SCHEMA "{schema.name}" CASCADE')
    finally:
        await connection.close()
