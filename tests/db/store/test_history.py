"""What a schema remembers of its jobs."""

from __future__ import annotations

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill_operator.simulate.trace import Past
from rivermill_operator.store import history
from rivermill_operator.store.port import StoreError


async def test_the_last_attempts_of_jobs_that_ended(dsn: str, connection: Connection, schema: Schema) -> None:
    table = schema.table("river_job")
    rows = (
        # queue, state, hours ago, waited, ran
        ("a", "completed", 1.0, 2, 5),
        ("b", "discarded", 2.0, 0, 1),
        ("a", "completed", 30.0, 0, 1),
        ("a", "available", 1.0, 0, 1),
    )
    for queue, state, hours, waited, ran in rows:
        ended = "NULL" if state == "available" else "t.due + make_interval(secs => $4 + $5)"
        await connection.execute(
            f"INSERT INTO {table} (kind, args, queue, priority, state, created_at, scheduled_at, attempted_at, finalized_at) "
            f"SELECT 'k', '{{}}', $1, 2, '{state}', t.due - interval '60 s', t.due, t.due + make_interval(secs => $4), {ended} "
            "FROM (SELECT now() - make_interval(secs => $3 * 3600) AS due) AS t WHERE $2 <> '' AND $5 > 0",
            queue, state, hours, float(waited), float(ran),
        )  # fmt: skip
    found = [Past(**job) for job in await history.read(dsn, schema.name, 24.0)]
    assert [(job.queue, round(job.seconds), job.priority) for job in found] == [("a", 5, 2), ("b", 1, 2)]
    assert all(job.known is not None and round(job.due - job.known) == 60 for job in found)


async def test_a_job_was_not_due_before_it_was_there_nor_counts_what_was_due_before_the_hours(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    for queue, due, inserted in (("backdated", "2001-01-01", "now() - interval '1 h'"), ("late", "2001-01-01", "'2001-01-01'")):
        await connection.execute(
            f"INSERT INTO {schema.table('river_job')} "
            "(kind, args, queue, state, created_at, scheduled_at, attempted_at, finalized_at, max_attempts) "
            f"VALUES ('k', '{{}}', $1, 'completed', {inserted}, '{due}', now() - interval '60 s', now(), 25)",
            queue,
        )
    (found,) = await history.read(dsn, schema.name, 24.0)
    assert found["queue"] == "backdated"
    assert found["due"] == found["known"]


async def test_a_schema_without_tables_is_named(dsn: str) -> None:
    with pytest.raises(StoreError) as caught:
        await history.read(dsn, "nowhere", 1.0)
    assert caught.value.reason == "SchemaMissing"
    assert caught.value.message == (
        "Schema nowhere has no table river_job: name the schema of River's tables with --schema, "
        "or make them with `rivermill migrate up`."
    )


async def test_a_schema_of_any_name_is_asked_for_as_it_is(dsn: str) -> None:
    with pytest.raises(StoreError, match='Schema a"; b has no table'):
        await history.read(dsn, 'a"; b', 1.0)


async def test_what_is_no_url_is_said_and_no_secret_is_blamed() -> None:
    with pytest.raises(StoreError, match=r"^The database URL cannot be read .* use postgresql://user"):
        await history.read("steady", "public", 1.0)
