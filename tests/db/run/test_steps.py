"""Resumable jobs: wherever a worker runs, the next attempt goes on behind the last step that was done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from rivermill import Job, JobState, Worker, Workers
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
    assert [error.error for error in row.errors] == ["interrupted"]
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
