"""Outcomes are written sooner or later, unless the database refuses what they hold; then that one alone is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from rivermill import JobState
from rivermill.claims import claim_sql
from rivermill.completer import Completer
from rivermill.db import Connection, SharedConnection
from rivermill.events import Subscribers
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.schema import Schema
from tests.db.run.support import ME, claim, eventually, rows


@asynccontextmanager
async def completing(dsn: str, schema: Schema, metrics: Metrics, *, pooled: bool = False) -> AsyncIterator[Completer]:
    """A completer whose statements may take a moment only; at the end it has nothing more to write."""
    shared = SharedConnection(dsn, "rivermill test", statement_timeout=timedelta(milliseconds=300), pooled=pooled)
    completer = Completer(shared, schema, ME, metrics, JobEvents(schema, Subscribers()), lambda: None)
    writing = asyncio.create_task(completer.run(), name="rivermill completer")
    try:
        yield completer
        completer.close()
        await asyncio.wait_for(writing, 20)
    finally:
        writing.cancel()
        await shared.close()


def refused(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("rivermill_completions_refused_total")


@pytest.mark.parametrize(
    ("lock", "pooled"),
    [
        ("SELECT FROM {} ORDER BY id LIMIT 1 FOR UPDATE", False),
        ("LOCK TABLE {} IN SHARE MODE", False),
        # What was written before must not be lost with the transaction that a pooler needs.
        ("SELECT FROM {} ORDER BY id DESC LIMIT 1 FOR UPDATE", True),
    ],
)
async def test_what_is_held_up_beyond_the_time_limit_is_written_later(
    dsn: str,
    connection: Connection,
    schema: Schema,
    other: Connection,
    caplog: pytest.LogCaptureFixture,
    lock: str,
    pooled: bool,
) -> None:
    metrics, records = Metrics(), await claim(connection, schema, "plain", "plain too", "with output")

    async def given_up() -> bool:
        return "completions wait for the database" in caplog.text

    async with completing(dsn, schema, metrics, pooled=pooled) as completer, other.transaction():
        await other.execute(lock.format(schema.table("river_job")))
        for record in records[:2]:
            completer.succeeded(record["id"], time.monotonic())
        completer.add(Completion(records[2]["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
        await eventually(given_up)
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.COMPLETED] * 3
    assert refused(metrics) == 0


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_refused_outcome_spoils_no_other(dsn: str, connection: Connection, schema: Schema, pooled: bool) -> None:
    metrics, records = Metrics(), await claim(connection, schema, "refused", "sound")
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} ADD CHECK (NOT metadata ? 'output')")
    async with completing(dsn, schema, metrics, pooled=pooled) as completer:
        for record, key in zip(records, ("output", "other"), strict=True):
            completer.add(Completion(record["id"], JobState.COMPLETED, "completed", metadata=f'{{"{key}": 1}}'))
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.RUNNING, JobState.COMPLETED]
    assert refused(metrics) == 1


async def test_an_outcome_that_is_written_again_touches_no_later_attempt(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    """As it is when the answer to the first time was lost: the job may run here again by then."""
    (record,) = await claim(connection, schema, "returned")
    returned = Completion(record["id"], JobState.AVAILABLE, "returned", attempt=0, claimed_at=record["attempted_at"])
    async with completing(dsn, schema, Metrics()) as completer:
        completer.add(returned)
    (again,) = await connection.fetch(claim_sql(schema), "default", 1, ME)
    assert (again["id"], again["attempt"]) == (record["id"], record["attempt"])
    async with completing(dsn, schema, Metrics()) as completer:
        completer.add(returned)
        completer.add(replace(returned, metadata='{"late": true}'))
    (row,) = await rows(connection, schema, [record])
    assert (row.state, row.attempt, row.metadata) == (JobState.RUNNING, 1, {})
