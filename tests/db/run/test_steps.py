"""Resumable jobs: wherever a worker runs, the next attempt goes on behind the last step that was done."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest

from rivermill import Job, JobNotRunningError, JobState, SyncClient, ValidationError, Worker, Workers
from rivermill.db import Connection
from rivermill.resumable import Step
from rivermill.schema import Schema
from tests.db.run.support import eventually, working

LONG = timedelta(minutes=5)

PROGRESS = {"river:resumable_step": "a", "river:resumable_cursor": {"b": 3}}


@dataclass
class Resumed:
    kind: ClassVar[str] = "resumed"


def run_steps(job: Job[Resumed]) -> None:
    """Fails in its second step, and the second time says how it found it."""
    found = []
    for name in ("a", "b"):
        with job.step(name) as step:
            found.append([name, step.needed, step.cursor])
            if name == "b" and job.attempt == 1:
                step.set_cursor(3)
                raise OSError("interrupted")
    job.record_output(found)


class OnLoop(Worker[Resumed]):
    async def work(self, job: Job[Resumed]) -> None:
        run_steps(job)


class InThread(Worker[Resumed]):
    def work(self, job: Job[Resumed]) -> None:
        run_steps(job)


class InProcess(InThread):
    executor = "process"


class Dies(Worker[Resumed]):
    """Its process is killed in its second step, and the second time it says how it found its steps."""

    executor = "process"

    def work(self, job: Job[Resumed]) -> None:
        found = []
        for name in ("a", "b"):
            with job.step(name) as step:
                found.append([name, step.needed, step.cursor])
                if name == "b" and job.attempt == 1:
                    self.run(job, step)
        job.record_output(found)

    def run(self, job: Job[Resumed], step: Step) -> None:
        step.set_cursor(2)
        step.set_cursor(3)
        os.kill(os.getpid(), signal.SIGKILL)


class DiesAfterCommit(Dies):
    """Has recorded its second step in a transaction by then."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn, self._schema = dsn, schema

    def run(self, job: Job[Resumed], step: Step) -> None:
        with SyncClient(self._dsn, schema=self._schema) as client, psycopg.connect(self._dsn) as tx:
            client.job_set_step(job, tx=tx)
            tx.commit()
            os.kill(os.getpid(), signal.SIGKILL)


class Waits(Dies):
    """Waits to be killed."""

    def __init__(self, reached: Path) -> None:
        self._reached = reached

    def run(self, job: Job[Resumed], step: Step) -> None:
        step.set_cursor(3)
        self._reached.touch()
        threading.Event().wait()


class WithoutSteps(Worker[Resumed]):
    async def work(self, job: Job[Resumed]) -> None:
        pass


def at_once(_: object) -> datetime:
    return datetime.now(UTC) + timedelta(milliseconds=1)


@pytest.mark.parametrize("worker", [OnLoop(), InThread(), InProcess()], ids=lambda worker: type(worker).__name__)
async def test_the_next_attempt_goes_on(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, worker: Worker[Resumed]
) -> None:
    workers.add(worker)
    async with working(dsn, connection, schema, workers, retry_policy=at_once) as bench:
        job = (await bench.client.insert(Resumed())).job
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert [error.error for error in row.errors] == ["OSError: interrupted"]
    assert row.metadata == PROGRESS | {"output": [["a", False, None], ["b", True, 3]]}


async def test_the_next_attempt_goes_on_where_a_process_died(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    workers.add(Dies())
    async with working(dsn, connection, schema, workers, job_timeout=LONG, retry_policy=at_once) as bench:
        job = (await bench.client.insert(Resumed())).job
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert [error.error for error in row.errors] == ["the worker process died: exit code -9 (SIGKILL)"]
    assert row.metadata == PROGRESS | {"output": [["a", False, None], ["b", True, 3]]}


async def test_what_was_committed_stays_where_a_process_died(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    workers.add(DiesAfterCommit(dsn, schema.name))
    async with working(dsn, connection, schema, workers, job_timeout=LONG, retry_policy=at_once) as bench:
        job = (await bench.client.insert(Resumed())).job
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert len(row.errors) == 1
    assert (row.metadata or {})["output"] == [["a", False, None], ["b", False, None]]


async def test_the_progress_of_a_process_that_is_killed_is_recorded(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, tmp_path: Path
) -> None:
    reached = tmp_path / "reached"
    workers.add(Waits(reached))
    async with working(dsn, connection, schema, workers, job_timeout=LONG) as bench:
        job = (await bench.client.insert(Resumed())).job
        await eventually(lambda: asyncio.to_thread(reached.exists))
        await bench.client.cancel(job.id)
        row = await bench.reaches(job.id, JobState.CANCELLED)
    assert row.metadata == PROGRESS | {"cancel_attempted_at": (row.metadata or {})["cancel_attempted_at"]}


async def test_a_worker_without_the_step_that_was_done_fails(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    workers.add(WithoutSteps())
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Resumed())).job
        await bench.reaches(job.id, JobState.COMPLETED)
        sql = (
            f"INSERT INTO {schema.table('river_job')} (kind, args, max_attempts, metadata) "
            """VALUES ('resumed', '{}', 1, '{"river:resumable_step": "a"}') RETURNING id"""
        )
        row = await bench.reaches(await connection.fetchval(sql), JobState.DISCARDED)
    assert [error.error for error in row.errors] == ["resumable step 'a' of an earlier attempt is not in the worker"]
    assert row.metadata == {"river:resumable_step": "a"}


class Charged(Worker[Resumed]):
    """Records its progress in a transaction of its own, fails, and the second time says how it found its steps."""

    def __init__(self, own: Connection, cursor: int | None, commit: bool) -> None:
        self._own, self._cursor, self._commit = own, cursor, commit

    async def work(self, job: Job[Resumed]) -> None:
        with job.step("a"):
            pass
        with job.step("b") as step:
            if job.attempt == 1:
                transaction = self._own.transaction()
                await transaction.start()
                row = await job.client.job_set_step(job, cursor=self._cursor, tx=self._own)
                assert (row.metadata or {})["river:resumable_step"] == "b"
                await (transaction.commit() if self._commit else transaction.rollback())
                raise OSError("interrupted")
        job.record_output([step.needed, step.cursor])


@pytest.mark.parametrize(
    ("cursor", "commit", "found"), [(None, True, [False, None]), (7, True, [True, 7]), (7, False, [True, None])]
)
async def test_progress_that_a_transaction_records(
    dsn: str,
    connection: Connection,
    schema: Schema,
    workers: Workers,
    other: Connection,
    cursor: int | None,
    commit: bool,
    found: list[Any],
) -> None:
    workers.add(Charged(other, cursor, commit))
    async with working(dsn, connection, schema, workers, retry_policy=at_once) as bench:
        job = (await bench.client.insert(Resumed())).job
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert [error.error for error in row.errors] == ["OSError: interrupted"]
    assert (row.metadata or {})["output"] == found


async def test_progress_of_an_attempt_that_is_over(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, other: Connection
) -> None:
    refused = asyncio.Event()

    @workers.work
    async def work(job: Job[Resumed]) -> None:
        with pytest.raises(ValidationError, match="call it inside a step"):
            await job.client.job_set_step(job, tx=other)
        with job.step("a"):
            await connection.execute(f"UPDATE {schema.table('river_job')} SET attempt = 2")
            with pytest.raises(JobNotRunningError, match="roll the transaction back"):
                await job.client.job_set_step(job, tx=other)
        refused.set()

    async with working(dsn, connection, schema, workers) as bench:
        await bench.client.insert(Resumed())
        await asyncio.wait_for(refused.wait(), 20)
