"""Subscribers see what happens in their client."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rivermill import (
    ClaimMetric,
    Event,
    EventKind,
    Hook,
    InsertOpts,
    Job,
    JobCancel,
    JobSnooze,
    JobState,
    Subscription,
    Workers,
)
from rivermill.db import Connection
from rivermill.rows import claim_columns
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working

ALL = list(EventKind)


async def read(subscription: Subscription, count: int) -> list[Event]:
    async with asyncio.timeout(20):
        return [await anext(subscription) for _ in range(count)]


async def test_every_outcome_has_its_event(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        match job.args.text:
            case "fail" | "discard":
                raise RuntimeError("no")
            case "cancel":
                raise JobCancel("enough")
            case "snooze" if not (job.row.metadata or {}).get("snoozes"):
                raise JobSnooze(timedelta(hours=1))
            case "output":
                job.record_output(7)
            case "wait":
                await asyncio.sleep(60)

    async with working(
        dsn, connection, schema, workers, shutdown_timeout=timedelta(seconds=0.1), queues={"default": 10}
    ) as bench:
        subscription = bench.client.subscribe(ALL)
        client = bench.client
        for text, kind, state in (
            ("complete", EventKind.JOB_COMPLETED, JobState.COMPLETED),
            ("output", EventKind.JOB_COMPLETED, JobState.COMPLETED),
            ("fail", EventKind.JOB_FAILED, JobState.AVAILABLE),
            ("discard", EventKind.JOB_FAILED, JobState.DISCARDED),
            ("cancel", EventKind.JOB_CANCELLED, JobState.CANCELLED),
            ("snooze", EventKind.JOB_SNOOZED, JobState.SCHEDULED),
        ):
            job = (await client.insert(Note(text), InsertOpts(max_attempts=1 if text == "discard" else None))).job
            (event,) = await read(subscription, 1)
            assert event.job is not None
            assert event.stats is not None
            assert (event.kind, event.job.id, event.job.state) == (kind, job.id, state)
            assert (event.job.metadata or {}).get("output") == (7 if text == "output" else None)
            assert min(event.stats.run, event.stats.complete) >= timedelta(0)
            if text == "fail":
                await client.cancel(job.id)  # it would come again
        waiting = (await client.enqueue(Note("wait"))).id
        await bench.reaches(waiting, JobState.RUNNING)
        await client.stop()
        rest = [event async for event in subscription if event.job is not None and event.job.id == waiting]
    assert [(event.kind, event.job and event.job.state) for event in rest] == [(EventKind.JOB_INTERRUPTED, JobState.AVAILABLE)]


async def test_who_finished_the_row_first_decides_the_event(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await release.wait()
        if job.args.text == "fail":
            raise RuntimeError("no")

    table = schema.table("river_job")
    async with working(dsn, connection, schema, workers) as bench:
        ids = {text: (await bench.client.enqueue(Note(text))).id for text in ("plain", "fail", "gone")}
        for job_id in ids.values():
            await bench.reaches(job_id, JobState.RUNNING)
        with bench.client.subscribe(ALL) as subscription:
            finish = (
                f"UPDATE {table} SET state = $2::text::{schema.table('river_job_state')}, finalized_at = now() WHERE id = $1"
            )
            await connection.execute(finish, ids["plain"], "discarded")
            await connection.execute(finish, ids["fail"], "completed")
            await connection.execute(f"DELETE FROM {table} WHERE id = $1", ids["gone"])
            release.set()
            events = await read(subscription, 2)
    kinds = {event.job.id: event.kind for event in events if event.job}
    assert kinds == {ids["plain"]: EventKind.JOB_FAILED, ids["fail"]: EventKind.JOB_COMPLETED}


async def test_a_queue_is_paused_and_resumed_once(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name, paused_at) VALUES ('other', now())")
    async with working(dsn, connection, schema, workers, queues={"default": 1, "other": 1}) as bench:
        with bench.client.subscribe([EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED]) as subscription:
            for name in ("default", "default", "*"):
                await bench.client.queue_pause(name)
            await bench.client.queue_resume("*")
            await bench.client.queue_resume("other")
            events = await read(subscription, 3)
            done = (await bench.client.enqueue(Note())).id
            await bench.reaches(done, JobState.COMPLETED)
    # The other queue was paused from the start.
    assert [(event.kind, event.queue) for event in events] == [
        (EventKind.QUEUE_PAUSED, "default"),
        (EventKind.QUEUE_RESUMED, "default"),
        (EventKind.QUEUE_RESUMED, "other"),
    ]
    assert [event async for event in subscription] == []


async def test_a_queue_is_said_to_be_paused_when_no_claim_can_bring_its_jobs_any_more(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    """As in River: who has seen the event knows that jobs inserted now stay where they are."""
    claimed, release = asyncio.Event(), asyncio.Event()

    class Hold(Hook):
        async def jobs_claimed(self, metric: ClaimMetric) -> None:
            claimed.set()
            await release.wait()

    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    kinds = [EventKind.JOB_COMPLETED, EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED]
    async with working(dsn, connection, schema, workers, hooks=[Hold()]) as bench:
        with bench.client.subscribe(kinds) as subscription:
            await bench.client.enqueue(Note())
            await asyncio.wait_for(claimed.wait(), 20)
            producer = bench.client._runtime._producer  # type: ignore[union-attr]
            await bench.client.queue_pause("default")
            await eventually(lambda: asyncio.sleep(0, producer._queues["default"].paused))
            await bench.client.queue_resume("default")
            await eventually(lambda: asyncio.sleep(0, not producer._queues["default"].paused))
            assert not subscription._events
            release.set()
            events = await read(subscription, 3)
    said = [event.kind for event in events if event.queue]
    assert said == [EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED]


async def test_a_claim_given_back_after_its_cancellation_was_asked_for_is_cancelled(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    """Nobody else may run it: the request came while the row was running, so it is for the client that held it to obey."""
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        if job.args.text == "holds":
            await release.wait()

    table = schema.table("river_job")
    async with working(dsn, connection, schema, workers, queues={"default": 1}) as bench:
        subscription = bench.client.subscribe(ALL)
        held = await bench.client.enqueue(Note("holds"))
        await bench.reaches(held.id, JobState.RUNNING)
        claimed = await connection.fetchval(
            f"INSERT INTO {table} (kind, args, state, attempt, attempted_at, attempted_by, metadata) VALUES "
            "('note', '{}', 'running', 1, now(), ARRAY[$1::text], '{\"cancel_attempted_at\": \"2026-01-01T00:00:00Z\"}') "
            "RETURNING id",
            bench.client.settings.client_id,
        )
        runtime = bench.client._runtime
        assert runtime is not None
        records = await connection.fetch(f"SELECT {claim_columns()} FROM {table} WHERE id = $1", claimed)
        runtime._executor.submit("default", records)
        row = await bench.reaches(claimed, JobState.CANCELLED)
        assert (row.attempt, row.errors) == (1, ())
        (event,) = await read(subscription, 1)
        assert (event.kind, event.job and event.job.id) == (EventKind.JOB_CANCELLED, claimed)
        release.set()
        await bench.reaches(held.id, JobState.COMPLETED)


async def test_a_hook_of_claims_that_fails_stops_nothing(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Hook):
        def metric_emit(self, metric: ClaimMetric) -> None:
            raise RuntimeError("no")

        async def jobs_claimed(self, metric: ClaimMetric) -> None:
            raise RuntimeError("no")

    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    async with working(dsn, connection, schema, workers, hooks=[Broken()]) as bench:
        for _ in range(2):
            await bench.reaches((await bench.client.enqueue(Note())).id, JobState.COMPLETED)
    assert {"a metric_emit hook failed", "a jobs_claimed hook failed"} <= {record.message for record in caplog.records}
