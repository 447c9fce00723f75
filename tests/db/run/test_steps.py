"""Resumable jobs: wherever a worker runs, the next attempt goes on behind the last step that was done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import Job, JobNotRunningError, JobState, ValidationError, Worker, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import working

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
