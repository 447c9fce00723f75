"""Clients that hear no notifications, and clients behind a transaction pooler."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rivermill import (
    Client,
    DatabaseUnavailableError,
    EventKind,
    InsertOpts,
    Interval,
    Job,
    JobCancel,
    JobSnooze,
    JobState,
    Never,
    PeriodicJob,
    SyncClient,
    Unique,
    Workers,
)
from rivermill.control_poll import ControlPollTimings
from rivermill.db import Connection
from rivermill.runtime import Runtime
from rivermill.schema import Schema
from rivermill.timings import Timings
from tests.db.run.conftest import FAST
from tests.db.run.support import Bench, Note, eventually, working

TIMINGS = replace(FAST, control_poll=ControlPollTimings(poll_only=0.2, listening=0.2))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Runtime.__init__

    def init(self: Runtime, *args: Any, timings: Timings = TIMINGS) -> None:
        original(self, *args, timings=timings)

    monkeypatch.setattr(Runtime, "__init__", init)


@pytest.fixture
def workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None:
        match job.args.text:
            case "fail":
                raise RuntimeError("no")
            case "cancel":
                raise JobCancel("enough")
            case "snooze" if not (job.row.metadata or {}).get("snoozes"):
                raise JobSnooze(timedelta(milliseconds=1))
            case "output":
                job.record_output({"seven": 7})
            case "wait":
                await asyncio.sleep(60)

    return workers


async def silently(connection: Connection, schema: Schema, sql: str, *args: Any) -> Any:
    """Do what a client does, but let nobody be notified."""
    return await connection.fetchval(sql.format(job=schema.table("river_job"), queue=schema.table("river_queue")), *args)


@pytest.mark.parametrize("poll_only", [True, False], ids=["poll-only", "lost-notifications"])
async def test_what_nobody_told_is_found_out(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, poll_only: bool
) -> None:
    async with working(dsn, connection, schema, workers, poll_only=poll_only) as bench:
        subscription = bench.client.subscribe([EventKind.QUEUE_PAUSED, EventKind.QUEUE_RESUMED])
        insert = "INSERT INTO {job} (kind, args) VALUES ('note', jsonb_build_object('text', $1::text)) RETURNING id"
        waiting = await silently(connection, schema, insert, "wait")
        await bench.reaches(waiting, JobState.RUNNING)
        cancel = 'UPDATE {job} SET metadata = \'{{"cancel_attempted_at": "2026-01-01T00:00:00Z"}}\' WHERE id = $1'
        await silently(connection, schema, cancel, waiting)
        row = await bench.reaches(waiting, JobState.CANCELLED)
        assert [error.error for error in row.errors] == ["JobCancelError: job cancelled remotely"]

        await silently(connection, schema, "UPDATE {queue} SET paused_at = now()")
        assert (await anext(subscription)).kind is EventKind.QUEUE_PAUSED
        job = await silently(connection, schema, insert, "")
        assert (await bench.job(job)).state is JobState.AVAILABLE
        await silently(connection, schema, "UPDATE {queue} SET paused_at = NULL")
        assert (await anext(subscription)).kind is EventKind.QUEUE_RESUMED
        await bench.reaches(job, JobState.COMPLETED)


async def test_a_poll_only_client_does_not_listen_and_yet_leads(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rivermill quiet' AND query ILIKE 'listen%'"
    periodic = PeriodicJob(Never(), lambda: Note("periodic"), run_on_start=True)
    async with working(dsn, connection, schema, workers, client_id="quiet", poll_only=True, periodic_jobs=[periodic]) as bench:
        await eventually(lambda: _worked(bench, 1))
        assert await connection.fetchval(listening) == 0


async def _worked(bench: Bench, count: int) -> bool:
    sql = f"SELECT count(*) FROM {bench.schema.table('river_job')} WHERE state = 'completed'"
    return bool(await bench.connection.fetchval(sql) >= count)


async def test_everything_but_listening_works_through_a_transaction_pooler(
    pooler: str, dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    periodic = PeriodicJob(Interval(timedelta(seconds=0.3)), lambda: Note("periodic"))
    async with working(
        pooler, connection, schema, workers, poll_only=True, transaction_pooler=True, periodic_jobs=[periodic]
    ) as bench:
        client = bench.client
        for text, state, most in (
            ("complete", JobState.COMPLETED, 25),
            ("output", JobState.COMPLETED, 25),
            ("fail", JobState.DISCARDED, 2),
            ("cancel", JobState.CANCELLED, 25),
            ("snooze", JobState.COMPLETED, 25),
        ):
            job = (await client.insert(Note(text), InsertOpts(max_attempts=most))).job
            await bench.reaches(job.id, state)
        unique = [await client.insert(Note("unique"), unique=Unique(by_args=True)) for _ in range(2)]
        assert [result.unique_skipped_as_duplicate for result in unique] == [False, True]
        assert await client.insert_many_fast([Note(str(i)) for i in range(100)]) == 100
        await eventually(lambda: _worked(bench, 105), 60)
        waiting = (await client.enqueue(Note("wait"))).id
        await bench.reaches(waiting, JobState.RUNNING)
        await client.cancel(waiting)
        await bench.reaches(waiting, JobState.CANCELLED)
        assert (await client.job_retry(waiting)).state is JobState.AVAILABLE
        await bench.reaches(waiting, JobState.RUNNING)
        await client.queue_pause("default")
        await client.stop(cancel=True)
    row = await connection.fetchrow(f"SELECT state::text, attempt FROM {schema.table('river_job')} WHERE id = $1", waiting)
    assert tuple(row) == ("available", 1)
    # It resigned and took its row away.
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_leader')}") == 0
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 0


async def test_a_listener_of_its_own_restores_notifications(
    pooler: str, dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    async with working(
        pooler,
        connection,
        schema,
        workers,
        transaction_pooler=True,
        listener_dsn=dsn,
        poll_interval=timedelta(minutes=10),
    ) as bench:
        for _ in range(3):
            await bench.reaches((await bench.client.enqueue(Note())).id, JobState.COMPLETED)


async def test_a_pooler_that_nobody_has_spoken_of_is_told_with_the_way_out(pooler: str, schema: Schema) -> None:
    client = Client(pooler, schema=schema)
    with pytest.raises(DatabaseUnavailableError, match=r"unsupported startup parameter.*set transaction_pooler=True \(RIVER_"):
        await client.job_list()


async def test_a_client_for_synchronous_programs_needs_no_listener(pooler: str, schema: Schema) -> None:
    def use() -> None:
        with SyncClient(pooler, schema=schema, transaction_pooler=True) as client:
            job = client.insert(Note()).job
            assert client.job_get(job.id) == job

    await asyncio.to_thread(use)
