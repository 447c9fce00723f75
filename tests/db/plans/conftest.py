"""A table whose statistics are old."""

from __future__ import annotations

import pytest

from rivermill.db import Connection
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
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    return schema
