"""Outcomes are written sooner or later, unless the database refuses what they hold; then that one alone is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from rivermill import EventKind, JobState
from rivermill import completer as module
from rivermill.claims import claim_sql
from rivermill.completer import Completer
from rivermill.db import Connection, SharedConnection
from rivermill.events import Subscribers
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.schema import Schema
from tests.db.run.support import ME, claim, eventually, rows


@dataclass
class Way:
    """How the completer reaches the database."""

    dsn: str
    pooled: bool


@pytest.fixture(params=["direct", "pooled"])
def way(request: pytest.FixtureRequest, dsn: str) -> Way:
    pooled = request.param == "pooled"
    return Way(request.getfixturevalue("pooler") if pooled else dsn, pooled)


@asynccontextmanager
async def completing(way: Way, schema: Schema, metrics: Metrics) -> AsyncIterator[Completer]:
    """A completer whose statements may take a moment only, behind a pooler some seconds; at the end it has written all."""
    shared = SharedConnection(way.dsn, "rivermill test", statement_timeout=timedelta(milliseconds=300), pooled=way.pooled)
    completer = Completer(shared, schema, ME, metrics, JobEvents(schema, Subscribers()), lambda: None)
    writing = asyncio.create_task(completer.run(), name="rivermill completer")
    try:
        yield completer
        completer.close()
        await asyncio.wait_for(writing, 20)
    finally:
        writing.cancel()
        await shared.close()


async def on_commit(connection: Connection, schema: Schema, body: str) -> None:
    """Run PL/pgSQL for each job that was updated, when its transaction commits."""
    await connection.execute(
        f"""
        CREATE SEQUENCE {schema.table("commits")};
        CREATE FUNCTION {schema.table("on_commit")}() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN {body.format(schema=schema.name)}; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER on_commit AFTER UPDATE ON {schema.table("river_job")} DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {schema.table("on_commit")}();
        """
    )


async def are(connection: Connection, schema: Schema, records: list[Any], state: JobState) -> bool:
    return all(row.state is state for row in await rows(connection, schema, records))


def refused(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("rivermill_completions_refused_total")


@pytest.mark.parametrize(
    "lock",
    [
        "SELECT FROM {} ORDER BY id LIMIT 1 FOR UPDATE",
        "SELECT FROM {} ORDER BY id DESC LIMIT 1 FOR UPDATE",
        "LOCK TABLE {} IN SHARE MODE",
    ],
    ids=["plain", "general", "table"],
)
async def test_what_is_held_up_beyond_the_time_limit_is_written_later(
    way: Way, connection: Connection, schema: Schema, other: Connection, caplog: pytest.LogCaptureFixture, lock: str
) -> None:
    metrics, records = Metrics(), await claim(connection, schema, "plain", "plain too", "with output")

    async def given_up() -> bool:
        return "completions wait for the database" in caplog.text

    async with completing(way, schema, metrics) as completer, other.transaction():
        await other.execute(lock.format(schema.table("river_job")))
        for record in records[:2]:
            completer.succeeded(record["id"], time.monotonic())
        completer.add(Completion(records[2]["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
        await eventually(given_up)
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.COMPLETED] * 3
    assert refused(metrics) == 0


async def test_what_fails_when_it_is_committed_is_written_later(way: Way, connection: Connection, schema: Schema) -> None:
    """Once, as where a pooler ends or two transactions cannot be put in an order."""
    metrics, records = Metrics(), await claim(connection, schema, "plain", "with output")
    await on_commit(connection, schema, "IF nextval('{schema}.commits') <= 2 THEN RAISE 'no' USING ERRCODE = '40001'; END IF")
    async with completing(way, schema, metrics) as completer:
        completer.succeeded(records[0]["id"], time.monotonic())
        completer.add(Completion(records[1]["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.COMPLETED] * 2
    assert refused(metrics) == 0


async def test_a_refused_outcome_spoils_no_other(way: Way, connection: Connection, schema: Schema) -> None:
    metrics, records = Metrics(), await claim(connection, schema, "refused", "sound", "plain")
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} ADD CHECK (NOT metadata ? 'output')")
    async with completing(way, schema, metrics) as completer:
        completer.succeeded(records[2]["id"], time.monotonic())
        for record, key in zip(records[:2], ("output", "other"), strict=True):
            completer.add(Completion(record["id"], JobState.COMPLETED, "completed", metadata=f'{{"{key}": 1}}'))
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.RUNNING, *[JobState.COMPLETED] * 2]
    assert refused(metrics) == 1


async def test_an_outcome_that_is_written_again_touches_no_later_attempt(
    way: Way, connection: Connection, schema: Schema
) -> None:
    """As it is when the answer to the first time was lost: the job may run here again by then."""
    (record,) = await claim(connection, schema, "returned")
    returned = Completion(record["id"], JobState.AVAILABLE, "returned", attempt=0, claimed_at=record["attempted_at"])
    async with completing(way, schema, Metrics()) as completer:
        completer.add(returned)
    (again,) = await connection.fetch(claim_sql(schema), "default", 1, ME)
    assert (again["id"], again["attempt"]) == (record["id"], record["attempt"])
    async with completing(way, schema, Metrics()) as completer:
        completer.add(returned)
        completer.add(replace(returned, metadata='{"late": true}'))
    (row,) = await rows(connection, schema, [record])
    assert (row.state, row.attempt, row.metadata) == (JobState.RUNNING, 1, {})


@pytest.mark.parametrize("sqlstate", ["45000", "20000", "38000", "42501", "42703", "XX001"])
async def test_an_outcome_on_which_something_fails_holds_up_no_other(
    dsn: str, connection: Connection, schema: Schema, sqlstate: str
) -> None:
    """It is written, too, once that is mended."""
    metrics, records = Metrics(), await claim(connection, schema, *["fails"] * 3, "plain", "sound")
    await on_commit(connection, schema, f"IF NEW.metadata ? 'output' THEN RAISE 'no' USING ERRCODE = '{sqlstate}'; END IF")
    async with completing(Way(dsn, pooled=False), schema, metrics) as completer:
        for record in records[:3]:
            completer.add(Completion(record["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
        completer.succeeded(records[3]["id"], time.monotonic())
        completer.add(Completion(records[4]["id"], JobState.COMPLETED, "completed", metadata='{"other": 1}'))
        await eventually(lambda: are(connection, schema, records[3:], JobState.COMPLETED))
        assert await are(connection, schema, records[:3], JobState.RUNNING)
        await connection.execute(f"DROP TRIGGER on_commit ON {schema.table('river_job')}")
    assert await are(connection, schema, records, JobState.COMPLETED)
    assert (refused(metrics), completer.job_ids()) == (0, [])


async def test_many_on_which_something_fails_hold_up_no_other(dsn: str, connection: Connection, schema: Schema) -> None:
    """More than fail in one flush."""
    metrics, records = Metrics(), await claim(connection, schema, *["fails"] * 150, "sound")
    await on_commit(connection, schema, "IF NEW.metadata ? 'output' THEN RAISE 'no' USING ERRCODE = '45000'; END IF")
    async with completing(Way(dsn, pooled=False), schema, metrics) as completer:
        for record in records[:-1]:
            completer.add(Completion(record["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
        completer.add(Completion(records[-1]["id"], JobState.COMPLETED, "completed", metadata='{"other": 1}'))
        await eventually(lambda: are(connection, schema, records[-1:], JobState.COMPLETED))
        await connection.execute(f"DROP TRIGGER on_commit ON {schema.table('river_job')}")
    assert await are(connection, schema, records, JobState.COMPLETED)


@asynccontextmanager
async def without_second_tries(dsn: str, schema: Schema, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Completer]:
    """A completer whose pauses last longer than any test."""
    monkeypatch.setattr(module, "back_off", lambda _failures: 3_600.0)
    shared = SharedConnection(dsn, "rivermill test")
    completer = Completer(shared, schema, ME, Metrics(), JobEvents(schema, Subscribers()), lambda: None)
    writing = asyncio.create_task(completer.run(), name="rivermill completer")
    try:
        yield completer
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await shared.close()


async def test_a_flush_that_wrote_something_is_followed_by_the_next_at_once(
    dsn: str, connection: Connection, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many fail in each of them."""
    records = await claim(connection, schema, *["fails", "sound"] * 300)
    fails, sound = records[::2], records[1::2]
    await on_commit(connection, schema, "IF NEW.metadata ? 'output' THEN RAISE 'no' USING ERRCODE = '45000'; END IF")
    async with without_second_tries(dsn, schema, monkeypatch) as completer:
        for failing, other in zip(fails, sound, strict=True):
            completer.add(Completion(failing["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
            completer.add(Completion(other["id"], JobState.COMPLETED, "completed", metadata='{"other": 1}'))
        await eventually(lambda: are(connection, schema, sound, JobState.COMPLETED))
    assert await are(connection, schema, fails, JobState.RUNNING)


async def test_an_outcome_that_fails_for_ever_slows_no_other(
    dsn: str, connection: Connection, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are written one after the other, without the pauses that it gets."""
    failing, *sound = await claim(connection, schema, *["fails"], *["sound"] * 10)
    await on_commit(connection, schema, "IF NEW.metadata ? 'output' THEN RAISE 'no' USING ERRCODE = '45000'; END IF")
    async with without_second_tries(dsn, schema, monkeypatch) as completer:
        completer.add(Completion(failing["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))

        async def put_off() -> bool:
            return completer.backlog == 1 and completer.backlog_due == 0

        await eventually(put_off)
        for record in sound:
            completer.succeeded(record["id"], time.monotonic())
            await eventually(lambda record=record: are(connection, schema, [record], JobState.COMPLETED))
        assert completer.job_ids() == [failing["id"]]


async def test_a_refused_outcome_stays_among_the_jobs_that_are_known(dsn: str, connection: Connection, schema: Schema) -> None:
    """Else what is claimed for this client without its knowledge, and given back, would be its job, too."""
    (record,) = await claim(connection, schema, "refused")
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} ADD CHECK (NOT metadata ? 'output')")
    async with completing(Way(dsn, pooled=False), schema, Metrics()) as completer:
        completer.add(Completion(record["id"], JobState.COMPLETED, "completed", metadata='{"output": 1}'))
    assert (completer.job_ids(), completer.backlog) == ([record["id"]], 0)


async def test_events_come_once_and_after_the_commit(way: Way, connection: Connection, schema: Schema) -> None:
    (record,) = await claim(connection, schema, "plain")
    await on_commit(connection, schema, "IF nextval('{schema}.commits') <= 2 THEN RAISE 'no' USING ERRCODE = '40001'; END IF")
    subscribers = Subscribers()
    shared = SharedConnection(way.dsn, "rivermill test", pooled=way.pooled)
    events = JobEvents(schema, subscribers)
    completer = Completer(shared, schema, ME, Metrics(), events, lambda: None)
    with subscribers.subscribe([EventKind.JOB_COMPLETED]) as seen:
        events.ended(record["id"], time.monotonic(), time.monotonic(), time.time())
        completer.succeeded(record["id"], time.monotonic())
        completer.close()
        await asyncio.wait_for(completer.run(), 20)
        subscribers.close()
        (event,) = [event async for event in seen]
    await shared.close()
    assert event.stats is not None
    assert await are(connection, schema, [record], JobState.COMPLETED)
