"""Old jobs and forgotten queues are deleted."""

from __future__ import annotations

from datetime import timedelta

from rivermill.db import Connection
from rivermill.maintenance.cleaner import clean_jobs, clean_queues
from rivermill.schema import Schema

DAY = timedelta(days=1)


async def test_each_state_has_its_retention(connection: Connection, schema: Schema) -> None:
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    await connection.execute(
        f"INSERT INTO {table} (kind, args, state, finalized_at) SELECT 'note', '{{}}', state::{enum}, now() - age * interval "
        "'1 hour' FROM unnest(ARRAY['completed', 'cancelled', 'discarded']) AS state, unnest(ARRAY[1, 30, 200]) AS age"
    )
    await connection.execute(
        f"INSERT INTO {table} (kind, args, state, created_at, scheduled_at) SELECT 'note', '{{}}', state::{enum}, "
        "'2020-01-01', '2020-01-01' FROM unnest(ARRAY['available', 'pending', 'running', 'scheduled', 'retryable']) AS state"
    )

    async def left() -> dict[str, int]:
        rows = await connection.fetch(f"SELECT state::text, count(*) FROM {table} WHERE finalized_at IS NOT NULL GROUP BY 1")
        return {row["state"]: row["count"] for row in rows}

    assert await clean_jobs(connection, schema, completed=DAY, cancelled=None, discarded=7 * DAY, limit=1) == 2
    assert await left() == {"completed": 2, "cancelled": 3, "discarded": 2}
    assert await clean_jobs(connection, schema, completed=DAY, cancelled=None, discarded=7 * DAY, timeout=DAY) == 1
    assert await left() == {"completed": 1, "cancelled": 3, "discarded": 2}
    assert await clean_jobs(connection, schema, completed=None, cancelled=None, discarded=None) == 0
    assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE finalized_at IS NULL") == 5


async def test_queues_that_somebody_works_stay(connection: Connection, schema: Schema) -> None:
    table = schema.table("river_queue")
    await connection.execute(
        f"INSERT INTO {table} (name, updated_at, paused_at) VALUES ('active', now() - interval '23 hours', NULL), "
        "('old', now() - interval '25 hours', NULL), ('paused', now() - interval '25 hours', now()), "
        "('older', now() - interval '2 days', NULL)"
    )
    assert await clean_queues(connection, schema, limit=2) == 2
    assert await clean_queues(connection, schema, limit=2) == 1
    assert [row["name"] for row in await connection.fetch(f"SELECT name FROM {table}")] == ["active"]


async def test_limits_are_not_forgotten(connection: Connection, schema: Schema) -> None:
    table = schema.table("river_queue")
    await connection.execute(
        f"INSERT INTO {table} (name, metadata, updated_at) SELECT name, metadata::jsonb, now() - interval '2 days' FROM "
        """(VALUES ('at_once', '{"concurrency": {"global_limit": 1}}'), ('in_time', '{"rate_limit": {"limit": 1}}'), """
        """('ended', '{"concurrency": null}'), ('other', '{"own": 1}'), ('list', '[]')) AS queues (name, metadata)"""
    )
    assert await clean_queues(connection, schema) == 3
    assert {row["name"] for row in await connection.fetch(f"SELECT name FROM {table}")} == {"at_once", "in_time"}
