"""Jobs whose client is gone are given back, and no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rivermill import NO_TIMEOUT, Job, Workers
from rivermill.db import Connection
from rivermill.maintenance import rescuer
from rivermill.maintenance.rescuer import Rescued, RescueRules, rescue_jobs
from rivermill.schema import Schema
from tests.db.run.support import Note

HOUR = timedelta(hours=1)


def rules(timeout: timedelta | None = None) -> RescueRules:
    workers = Workers()

    @workers.work(timeout=timeout)
    async def work(job: Job[Note]) -> None: ...

    return RescueRules(workers, timedelta(minutes=1), lambda _: datetime.now(UTC) + HOUR)


async def insert(connection: Connection, schema: Schema, count: int = 1, **columns: Any) -> list[int]:
    """Running jobs of a client that nobody knows, begun five hours ago."""
    values = {"kind": "note", "metadata": "{}", "attempt": 1, "client": "gone", "age": 5 * HOUR} | columns
    rows = await connection.fetch(
        f"INSERT INTO {schema.table('river_job')} (kind, args, metadata, state, attempt, attempted_at, attempted_by) "
        "SELECT $1, '{}', $2::text::jsonb, 'running', $3, now() - $5::interval, ARRAY[$4::text] "
        "FROM generate_series(1, $6::int) RETURNING id",
        *values.values(),
        count,
    )
    return [row["id"] for row in rows]


async def rescue(connection: Connection, schema: Schema, chosen: RescueRules, **options: Any) -> Rescued:
    return await rescue_jobs(connection, schema, chosen, dead_after=timedelta(seconds=30), rescue_after=HOUR, **options)


async def row(connection: Connection, schema: Schema, job_id: int) -> dict[str, Any]:
    record = await connection.fetchrow(
        "SELECT state::text, attempt, finalized_at, scheduled_at, errors::text[] AS errors, metadata::text AS metadata "
        f"FROM {schema.table('river_job')} WHERE id = $1",
        job_id,
    )
    return dict(record)


async def test_a_rescued_row(connection: Connection, schema: Schema) -> None:
    (plain,) = await insert(connection, schema, metadata='{"river:rescue_count": 2, "own": 1}')
    (last,) = await insert(connection, schema, attempt=25)
    (cancelled,) = await insert(connection, schema, metadata='{"cancel_attempted_at": "2026-01-01T00:00:00Z"}')
    (young,) = await insert(connection, schema, age=timedelta(minutes=59))
    assert await rescue(connection, schema, rules()) == Rescued(age=3)
    found = await row(connection, schema, plain)
    error = json.loads(found["errors"][0])
    assert (found["state"], found["attempt"], found["finalized_at"]) == ("retryable", 1, None)
    assert found["scheduled_at"] > datetime.now(UTC) + HOUR / 2
    assert json.loads(found["metadata"]) == {"own": 1, "river:rescue_count": 3}
    assert {key: error[key] for key in ("attempt", "error", "trace")} == {
        "attempt": 1,
        "error": "Stuck job rescued by JobRescuer",
        "trace": "",
    }
    for job_id, state in ((last, "discarded"), (cancelled, "cancelled")):
        found = await row(connection, schema, job_id)
        assert found["state"] == state
        assert found["finalized_at"] is not None
    assert (await row(connection, schema, young))["state"] == "running"


async def test_jobs_left_alone_do_not_stand_in_the_way(connection: Connection, schema: Schema) -> None:
    await insert(connection, schema, 5)
    (other,) = await insert(connection, schema, kind="other")
    chosen, seen, after = rules(NO_TIMEOUT), [], 0
    while True:
        result = await rescue(connection, schema, chosen, after_id=after, limit=2)
        seen.append(result.age)
        if result.more_after is None:
            break
        after = result.more_after
    assert seen == [0, 0, 1, 0]
    assert (await row(connection, schema, other))["state"] == "retryable"


@pytest.mark.parametrize(
    "meanwhile",
    [
        "state = 'completed', finalized_at = now()",
        "attempt = 2",
        "attempted_by = array_append(attempted_by, 'another')",
        # The same client, after a snooze: the same number of attempt, and yet another one.
        "attempted_at = now()",
    ],
)
async def test_what_happened_since_the_look_is_respected(
    dsn: str, connection: Connection, schema: Schema, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    (job_id,) = await insert(connection, schema)
    other = await asyncpg.connect(dsn)
    original = rescuer._write

    async def write(*args: Any) -> set[int]:
        await other.execute(f"UPDATE {schema.table('river_job')} SET {meanwhile}")
        return await original(*args)

    monkeypatch.setattr(rescuer, "_write", write)
    try:
        assert await rescue(connection, schema, rules()) == Rescued()
    finally:
        await other.close()
    assert (await row(connection, schema, job_id))["errors"] is None


async def test_rows_that_cannot_be_decoded_are_rescued_too(connection: Connection, schema: Schema) -> None:
    (odd,) = await insert(connection, schema, metadata="[1]")
    await connection.execute(f"UPDATE {schema.table('river_job')} SET errors = ARRAY['7'::jsonb]")
    (good,) = await insert(connection, schema)
    (often,) = await insert(connection, schema, metadata='{"river:rescue_count": 1e400}')
    assert await rescue(connection, schema, rules()) == Rescued(age=3)
    assert {(await row(connection, schema, job_id))["state"] for job_id in (odd, good, often)} == {"retryable"}


@pytest.mark.parametrize("metadata", ["5", "true", "null", '"cancel_attempted_at"', '["cancel_attempted_at"]'])
async def test_metadata_that_are_no_object_spoil_nothing(connection: Connection, schema: Schema, metadata: str) -> None:
    ids = await insert(connection, schema, metadata=metadata) + await insert(connection, schema)
    assert await rescue(connection, schema, rules()) == Rescued(age=2)
    assert [(await row(connection, schema, job_id))["state"] for job_id in ids] == ["retryable"] * 2
