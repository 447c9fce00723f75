"""Jobs that are cancelled or given back before their worker began, and what comes after a worker has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from rivermill import ErrorHandlerResult, Job, JobCancel, JobFailure, JobRow, JobState, QueueConfig, StuckJob, Workers
from rivermill.claimed import Policy
from rivermill.client_queues import ClientQueues
from rivermill.completer import Completer
from rivermill.db import Connection, SharedConnection
from rivermill.events import Subscribers
from rivermill.executor import Executor
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.outcome import error_text
from rivermill.schema import Schema
from tests.db.run.support import ME, Note, claim, eventually, rows


@asynccontextmanager
async def executing(dsn: str, schema: Schema, workers: Workers, policy: Policy, slots: int = 1) -> AsyncIterator[Executor]:
    shared = SharedConnection(dsn, "rivermill test")
    completer = Completer(shared, schema, ME, Metrics(), JobEvents(schema, Subscribers()), lambda: None)
    queues = ClientQueues({"default": QueueConfig(slots)}, None, works=True)
    writing = asyncio.create_task(completer.run(), name="rivermill completer")
    executor = Executor(workers, completer, Metrics(), policy, queues=queues, on_free=lambda: None)
    try:
        yield executor
        await executor.idle()
        completer.close()
        await writing
    finally:
        writing.cancel()
        assert await executor.close() == []
        await shared.close()


async def test_a_cancelled_job_that_waits_ends_without_its_worker(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    release, ran = asyncio.Event(), []

    @workers.work
    async def work(job: Job[Note]) -> None:
        ran.append(job.args.text)
        await release.wait()

    records = await claim(connection, schema, "first", "second", "third")
    async with executing(dsn, schema, workers, Policy()) as executor:
        executor.submit("default", records)
        executor.cancel(records[1]["id"])
        await asyncio.sleep(0)
        release.set()
    first, second, third = await rows(connection, schema, records)
    assert ran == ["first", "third"]
    assert [row.state for row in (first, second, third)] == [JobState.COMPLETED, JobState.CANCELLED, JobState.COMPLETED]
    assert [error.error for error in second.errors] == ["JobCancelError: job cancelled remotely"]


async def test_a_job_cancelled_while_it_is_claimed_begins_cancelled(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    seen: list[bool] = []

    @workers.work
    async def work(job: Job[Note]) -> None:
        seen.append(job.cancelled)
        await asyncio.Event().wait()

    records = await claim(connection, schema, "early")
    async with executing(dsn, schema, workers, Policy()) as executor:
        executor.expect()
        executor.cancel(records[0]["id"])
        executor.submit("default", records)
        executor.expected()
    (row,) = await rows(connection, schema, records)
    assert (seen, row.state) == ([True], JobState.CANCELLED)


async def test_what_is_given_back_is_due_again_unless_it_was_cancelled(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await release.wait()

    table = schema.table("river_job")
    records = await claim(connection, schema, "runs", "waits", "waits, cancelled")
    await connection.execute(
        f"""UPDATE {table} SET metadata = '{{"cancel_attempted_at": "2026-11-25T00:00:00Z"}}' WHERE id = $1""", records[2]["id"]
    )
    async with executing(dsn, schema, workers, Policy()) as executor:
        executor.submit("default", records)

        async def given_back() -> bool:
            return executor.held == 1

        await eventually(given_back)
        release.set()
    runs, waits, cancelled = await rows(connection, schema, records)
    assert runs.state is JobState.COMPLETED
    assert (waits.state, waits.attempt, waits.errors) == (JobState.AVAILABLE, 0, ())
    assert waits.scheduled_at.timestamp() == records[1]["scheduled_at"]
    assert (cancelled.state, cancelled.attempt) == (JobState.CANCELLED, 1)


async def test_a_job_that_waits_takes_the_slot_opened_for_a_stuck_one(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    release = threading.Event()

    @workers.work(timeout=timedelta(milliseconds=10))
    def work(job: Job[Note]) -> None:
        if job.args.text == "deaf":
            release.wait(30)
        else:
            release.set()

    def open_a_slot(_: StuckJob) -> bool:
        executor.submit("default", records[1:])
        return True

    policy = Policy(stuck_threshold=timedelta(milliseconds=1), stuck_handler=open_a_slot)
    records = await claim(connection, schema, "deaf", "next")
    async with executing(dsn, schema, workers, policy) as executor:
        executor.submit("default", records[:1])
    deaf, following = await rows(connection, schema, records)
    assert (deaf.state, following.state) == (JobState.COMPLETED, JobState.COMPLETED)
    assert executor.held == 0


async def ended(dsn: str, connection: Connection, schema: Schema, workers: Workers, policy: Policy) -> JobRow:
    """The row of a job once its attempt has ended."""
    records = await claim(connection, schema, "ends")
    async with executing(dsn, schema, workers, policy) as executor:
        executor.submit("default", records)
        await asyncio.wait_for(executor.idle(), 20)
    (row,) = await rows(connection, schema, records)
    return row


class SlowHandler:
    """Reports errors, and takes its time for it."""

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        await asyncio.sleep(0.2)
        return None

    async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> None:
        raise asyncio.CancelledError


async def test_a_deadline_counts_for_nothing_once_the_worker_has_ended(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work(timeout=timedelta(milliseconds=50))
    async def work(job: Job[Note]) -> None:
        raise JobFailure("before its deadline")

    row = await ended(dsn, connection, schema, workers, Policy(error_handler=SlowHandler()))
    assert (row.state, [error.error for error in row.errors]) == (JobState.AVAILABLE, ["before its deadline"])


async def test_an_error_handler_that_cancels_itself_costs_no_outcome(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise SystemExit("out")

    row = await ended(dsn, connection, schema, workers, Policy(error_handler=SlowHandler()))
    assert (row.state, [error.error for error in row.errors]) == (JobState.AVAILABLE, ["SystemExit: out"])


class DeafHandler:
    """Never ends by itself."""

    async def handle_error(self, job: JobRow, error: BaseException) -> None:
        await asyncio.Event().wait()

    async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("error", [JobFailure("no"), SystemExit("no")], ids=["error", "panic"])
async def test_an_error_handler_that_does_not_end_costs_neither_outcome_nor_slot(
    dsn: str,
    connection: Connection,
    schema: Schema,
    workers: Workers,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise error

    monkeypatch.setattr("rivermill.handlers.LEAST_PATIENCE", timedelta(0))
    policy = Policy(error_handler=DeafHandler(), stuck_threshold=timedelta(milliseconds=50))
    row = await ended(dsn, connection, schema, workers, policy)
    assert (row.state, [error.error for error in row.errors]) == (JobState.AVAILABLE, [error_text(error)])
    assert "the error handler did not end within" in caplog.text


class CancellingHandler(SlowHandler):
    """Cancels the job after a while."""

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult:
        await asyncio.sleep(0.2)
        return ErrorHandlerResult(set_cancelled=True)


async def test_an_error_handler_may_wait_although_attempts_are_stuck_at_once(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise JobFailure("no")

    row = await ended(dsn, connection, schema, workers, Policy(error_handler=CancellingHandler(), stuck_threshold=timedelta(0)))
    assert row.state is JobState.CANCELLED


class AgreeingHandler:
    def handle_error(self, job: JobRow, error: BaseException) -> Any:
        return True

    def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> Any:
        return True


async def test_an_error_handler_that_answers_anything_else_costs_no_outcome(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise JobFailure("no")

    row = await ended(dsn, connection, schema, workers, Policy(error_handler=AgreeingHandler()))
    assert (row.state, row.errors[0].error) == (JobState.AVAILABLE, "no")


class UnspeakableError(Exception):
    """Fails when its text is asked for."""

    def __str__(self) -> str:
        raise KeyError("text")


async def test_an_error_without_a_text_is_recorded_by_its_type(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise UnspeakableError

    row = await ended(dsn, connection, schema, workers, Policy())
    assert (row.state, [error.error for error in row.errors]) == (JobState.AVAILABLE, ["UnspeakableError"])


@pytest.mark.parametrize("executor", ["async", "thread"])
@pytest.mark.parametrize("error", [StopIteration("end"), GeneratorExit("end"), KeyboardInterrupt("end"), SystemExit("end")])
async def test_whatever_a_worker_raises_is_a_failure(
    dsn: str,
    connection: Connection,
    schema: Schema,
    workers: Workers,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    executor: str,
) -> None:
    async def on_loop(job: Job[Note]) -> None:
        raise error

    def in_thread(job: Job[Note]) -> None:
        raise error

    workers.work(on_loop if executor == "async" else in_thread)
    row = await ended(dsn, connection, schema, workers, Policy())
    assert (row.state, len(row.errors)) == (JobState.AVAILABLE, 1)
    assert "end" in row.errors[0].error + row.errors[0].trace
    assert f"job {row.id} of kind note failed: {row.errors[0].error}" in caplog.text


async def test_a_timeout_is_recorded_with_what_the_worker_raises_then(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work(timeout=timedelta(milliseconds=20))
    async def work(job: Job[Note]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("cleanup failed")

    row = await ended(dsn, connection, schema, workers, Policy())
    assert [error.error for error in row.errors] == ["timed out after 0:00:00.020000; then RuntimeError: cleanup failed"]
    assert "in work" in row.errors[0].trace


async def test_an_outcome_counts_though_it_comes_late(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work(timeout=timedelta(milliseconds=20))
    async def work(job: Job[Note]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise JobCancel("too late") from None

    row = await ended(dsn, connection, schema, workers, Policy())
    assert (row.state, row.errors[0].error) == (JobState.CANCELLED, "JobCancelError: too late")
