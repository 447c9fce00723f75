"""A table whose statistics are old."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from rivermill.db import Connection
from rivermill.migrations import LINES, Migrator
from rivermill.schema import Schema
from tests.db.plans.explained import FINISHED, WAITING


@pytest.fixture
async def aged(connection: Connection, schema: Schema) -> Schema:
    """Many finished jobs, statistics of that, and jobs that came, and were claimed, only afterwards."""
    table = schema.table("river_job")
    await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    await connection.execute(
        f"INSERT INTO {table} (kind, args, state, finalized_at, attempt, attempted_by) "
        f"SELECT 'done', '{{}}', 'completed', now() - n * interval '1 s', 1, ARRAY['gone'] "
        f"FROM generate_series(1, {FINISHED}) AS n"
    )
    await connection.execute(f"ANALYZE {table}")
    await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'todo', '{{}}' FROM generate_series(1, {WAITING})")
    return schema


#: Finished and waiting jobs when the statistics were taken: what a planner takes for granted differs.
SEEN = {"a million finished": (1_000_000, 0), "a backlog among finished": (200_000, 100_000), "a backlog": (0, 100_000)}


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=SEEN)
async def big(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Schema]:
    """Tables for the session: of these sizes, with statistics of that, and jobs that came only afterwards."""
    finished, waiting = SEEN[request.param]
    schema, connection = Schema(f"big{os.getpid()}_{finished}_{waiting}"), await asyncpg.connect(dsn)
    await connection.execute(f'CREATE SCHEMA "{schema.name}"')
    for line in LINES:
        await Migrator(connection, schema, line).up()
    await _fill(connection, schema, finished, waiting)
    yield schema
    await connection.execute(f'DROP SCHEMA "{schema.name}" CASCADE')
    await connection.close()


async def _fill(connection: Any, schema: Schema, finished: int, waiting: int) -> None:
    table = schema.table("river_job")
    secondary = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1 AND tablename = 'river_job' AND indexname <> $2",
        schema.name,
        "river_job_pkey",
    )
    await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    # Made afterwards, since adding to them takes several times as long.
    for index in secondary:
        await connection.execute(f"DROP INDEX {schema.table(index['indexname'])}")
    await connection.execute(
        f"INSERT INTO {table} (kind, args, state, finalized_at, attempt, attempted_by) "
        f"SELECT 'done', '{{}}', 'completed', now() - n * interval '1 s', 1, ARRAY['gone'] "
        f"FROM generate_series(1, {finished}) AS n"
    )
    await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'todo', '{{}}' FROM generate_series(1, {waiting})")
    for index in secondary:
        await connection.execute(index["indexdef"])
    await connection.execute(f"ANALYZE {table}")
    await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'todo', '{{}}' FROM generate_series(1, {WAITING})")


@pytest.fixture
async def undone(connection: Connection) -> AsyncIterator[Connection]:
    """A connection whose changes are taken back."""
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
