"""Attempts that end early, fail or are watched: executors, cancellation, handlers, hooks and middleware."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from rivermill import (
    Client,
    ConfigError,
    ErrorHandlerResult,
    Hook,
    InsertOpts,
    Job,
    JobCancel,
    JobFailure,
    JobRow,
    JobState,
    Middleware,
    Plugin,
    StuckJob,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working


@dataclass
class Crunch:
    kind: ClassVar[str] = "crunch"
    what: str = ""


def crunch(job: Job[Crunch]) -> None:
    if job.args.what == "die":
        os._exit(7)
    if job.args.what == "fail":
        raise RuntimeError("no luck with \udcff")
    if job.args.what == "sleep":
        time.sleep(600)
    job.record_output({"pid": os.getpid()})


async def test_processes(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    workers.work(executor="process")(crunch)
    # So long that a cancelled job is never finished over the head of a child that lives on.
    long = timedelta(minutes=5)
    async with working(dsn, connection, schema, workers, job_timeout=long, job_stuck_threshold=long) as bench:
        good, dead, failed, slow = [
            (await bench.client.insert(Crunch(what), InsertOpts(max_attempts=1))).job for what in ("", "die", "fail", "sleep")
        ]
        row = await bench.reaches(good.id, JobState.COMPLETED)
        assert row.metadata is not None
        assert row.metadata["output"]["pid"] != os.getpid()
        row = await bench.reaches(dead.id, JobState.DISCARDED)
        assert row.errors[0].error == "the worker process died: exit code 7"
        row = await bench.reaches(failed.id, JobState.DISCARDED)
        assert row.errors[0].error == "RuntimeError: no luck with ?"
        assert "in crunch" in row.errors[0].trace
        await bench.reaches(slow.id, JobState.RUNNING)
        await bench.client.cancel(slow.id)
        row = await bench.reaches(slow.id, JobState.CANCELLED)
        assert row.errors[0].error == "JobCancelError: job cancelled remotely"


async def sleeping(job: Job[Crunch]) -> None:
    raise JobCancel("it ran")


def unawaited(job: Job[Crunch]) -> Any:
    """As a decorator makes it of an async worker that knows nothing of those."""
    return sleeping(job)


async def unawaited_on_loop(job: Job[Crunch]) -> Any:
    return sleeping(job)


@pytest.mark.parametrize(
    ("function", "executor"), [(unawaited, "thread"), (unawaited, "process"), (unawaited_on_loop, "async")]
)
async def test_a_coroutine_that_a_worker_returns_fails_the_attempt(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, function: Any, executor: Any
) -> None:
    workers.work(executor=executor)(function)
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Crunch(), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
        assert "returned a coroutine that nobody awaits" in row.errors[0].error


async def test_a_process_that_takes_too_long_is_killed(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    workers.work(executor="process", timeout=timedelta(seconds=1))(crunch)
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Crunch("sleep"), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
        assert row.errors[0].error == "timed out after 0:00:01"


def test_a_worker_that_cannot_be_sent_to_a_process_is_refused(workers: Workers) -> None:
    with pytest.raises(ConfigError, match="does not fit"):

        @workers.work(executor="process")
        async def work(job: Job[Note]) -> None: ...


async def test_a_thread_is_asked_to_end(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    def work(job: Job[Note]) -> None:
        while True:
            time.sleep(0.01)
            job.check_cancelled()

    async with working(dsn, connection, schema, workers, shutdown_timeout=timedelta(seconds=0.1)) as bench:
        cancelled = await bench.client.enqueue(Note())
        returned = await bench.client.enqueue(Note())
        await bench.reaches(cancelled.id, JobState.RUNNING)
        await bench.reaches(returned.id, JobState.RUNNING)
        await bench.client.cancel(cancelled.id)
        await bench.reaches(cancelled.id, JobState.CANCELLED)
    async with Client(dsn, schema=schema) as client:
        row = await client.job_get(returned.id)
    assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())


async def test_a_stuck_job_is_reported_and_its_cancellation_enforced(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    release = threading.Event()
    stuck: list[StuckJob] = []

    @workers.work
    def work(job: Job[Note]) -> None:
        if job.args.text == "deaf":
            release.wait(30)

    def on_stuck(job: StuckJob) -> bool:
        stuck.append(job)
        return True

    settings = {"queues": {"default": 1}, "job_stuck_threshold": timedelta(seconds=0.1), "job_stuck_handler": on_stuck}
    async with working(dsn, connection, schema, workers, **settings) as bench:
        deaf = await bench.client.enqueue(Note("deaf"))
        await bench.reaches(deaf.id, JobState.RUNNING)
        await bench.client.cancel(deaf.id)
        row = await bench.reaches(deaf.id, JobState.CANCELLED)
        assert row.errors[0].error == "JobCancelError: job cancelled remotely"
        assert [(job.id, job.total) for job in stuck] == [(deaf.id, 1)]
        other = await bench.client.enqueue(Note())
        await bench.reaches(other.id, JobState.COMPLETED)
        release.set()


async def test_the_error_handler_may_cancel(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    calls: list[str] = []

    class Handler:
        async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
            calls.append(f"error {error}")
            return ErrorHandlerResult(set_cancelled=True)

        async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> ErrorHandlerResult | None:
            calls.append(f"panic {error}")
            raise ValueError("a handler may fail")

    @workers.work
    async def work(job: Job[Note]) -> None:
        raise JobFailure("as expected") if job.args.text == "fail" else SystemExit("out")

    async with working(dsn, connection, schema, workers, error_handler=Handler()) as bench:
        failed = await bench.client.enqueue(Note("fail"))
        panicked = (await bench.client.insert(Note(), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(failed.id, JobState.CANCELLED)
        assert [(e.error, e.trace) for e in row.errors] == [("as expected", "")]
        await bench.reaches(panicked.id, JobState.DISCARDED)
    assert sorted(calls) == ["error as expected", "panic out"]


@dataclass
class Renamed:
    kind: ClassVar[str] = "renamed"
    kind_aliases: ClassVar[tuple[str, ...]] = ("note",)
    text: str = ""


async def test_aliases_and_known_kinds(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Renamed]) -> None: ...

    table = schema.table("river_job")
    old, foreign = [
        await connection.fetchval(f"INSERT INTO {table} (kind, args) VALUES ($1, '{{}}') RETURNING id", kind)
        for kind in ("note", "foreign")
    ]
    async with working(dsn, connection, schema, workers, fetch_only_known_kinds=True) as bench:
        await bench.reaches(old, JobState.COMPLETED)
        row = await bench.job(foreign)
        assert (row.state, row.attempt) == (JobState.AVAILABLE, 0)


async def test_order_of_what_runs_around_an_attempt(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    order: list[str] = []

    class Layer(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
            order.append(f"{self.name} in")
            await inner()
            order.append(f"{self.name} out")

    class Watch(Hook):
        async def work_begin(self, job: Job[Any]) -> None:
            order.append("begin")
            job.set_metadata("seen", True)

        async def work_end(self, job: Job[Any], error: BaseException | None) -> BaseException | None:
            order.append(f"end {error}")
            return None

    class Both(Plugin):
        async def work_begin(self, job: Job[Any]) -> None:
            order.append("plugin begin")

        async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
            order.append("plugin in")
            await inner()

    @workers.work(middleware=[Layer("own")])
    async def work(job: Job[Note]) -> None:
        order.append("work")
        raise RuntimeError("x")

    settings = {"hooks": [Watch()], "middleware": [Layer("client")], "plugins": [Both()]}
    async with working(dsn, connection, schema, workers, **settings) as bench:
        job = await bench.client.enqueue(Note())
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert row.metadata == {"seen": True}
    assert order == ["own in", "plugin in", "client in", "plugin begin", "begin", "work", "end x", "client out", "own out"]


async def test_others_may_finish_a_running_row(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        job.record_output("late")
        await release.wait()

    table = schema.table("river_job")
    async with working(dsn, connection, schema, workers) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        await connection.execute(f"UPDATE {table} SET state = 'discarded', finalized_at = now() WHERE id = $1", job.id)
        release.set()

        async def merged() -> bool:
            return bool(((await bench.job(job.id)).metadata or {}).get("output") == "late")

        await eventually(merged)
        assert (await bench.job(job.id)).state is JobState.DISCARDED
