"""Jobs that are completed in a transaction of their worker's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from rivermill import EventKind, Job, JobNotRunningError, JobRow, JobState, NotFoundError, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill.testing import work_one
from tests.db.run.support import Bench, Note, eventually, working

Work = Callable[[Job[Note], Connection], Awaitable[None]]


@pytest.fixture
async def own(dsn: str) -> AsyncIterator[Connection]:
    """The worker's connection."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


def by(workers: Workers, work: Work, own: Connection) -> None:
    @workers.work
    async def run(job: Job[Note]) -> None:
        await work(job, own)


async def outcome(bench: Bench) -> tuple[EventKind, JobRow]:
    """Have a job worked; the event of its end, and the row."""
    with bench.client.subscribe([kind for kind in EventKind if kind.value.startswith("job_")]) as events:
        await bench.client.enqueue(Note())
        event = await asyncio.wait_for(anext(events), 20)
        assert event.job is not None
    return event.kind, await bench.job(event.job.id)


async def test_committed_is_completed(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, own: Connection
) -> None:
    written: list[JobRow] = []

    async def work(job: Job[Note], own: Connection) -> None:
        async with own.transaction():
            job.record_output("done")
            written.append(await job.client.job_complete(job, tx=own))
            assert (await job.client.job_get(job.id)).state is JobState.RUNNING

    by(workers, work, own)
    async with working(dsn, connection, schema, workers) as bench:
        kind, row = await outcome(bench)
    assert (kind, row.state, row.metadata) == (EventKind.JOB_COMPLETED, JobState.COMPLETED, {"output": "done"})
    # The executor's own completion came later, and changed nothing.
    assert written == [row]


async def test_the_end_of_the_worker_counts_for_nothing_after_it(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, own: Connection
) -> None:
    async def work(job: Job[Note], own: Connection) -> None:
        await job.client.job_complete(job, tx=own)
        raise ZeroDivisionError

    by(workers, work, own)
    async with working(dsn, connection, schema, workers) as bench:
        kind, row = await outcome(bench)
    assert (kind, row.state, row.errors) == (EventKind.JOB_COMPLETED, JobState.COMPLETED, ())


@pytest.mark.parametrize("fails", [False, True])
async def test_rolled_back_is_forgotten(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, own: Connection, fails: bool
) -> None:
    async def work(job: Job[Note], own: Connection) -> None:
        transaction = own.transaction()
        await transaction.start()
        await job.client.job_complete(job, tx=own)
        await transaction.rollback()
        if fails and job.attempt == 1:
            raise ZeroDivisionError("no")

    by(workers, work, own)
    async with working(dsn, connection, schema, workers) as bench:
        kind, row = await outcome(bench)
    assert kind is (EventKind.JOB_FAILED if fails else EventKind.JOB_COMPLETED)
    assert [error.error for error in row.errors] == (["ZeroDivisionError: no"] if fails else [])


@pytest.mark.parametrize(
    "meanwhile",
    ["attempt = 2", "attempted_by = array_append(attempted_by, 'another')", "state = 'cancelled', finalized_at = now()"],
)
async def test_an_attempt_that_is_over_completes_nothing(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, own: Connection, meanwhile: str
) -> None:
    raised: list[str] = []

    async def work(job: Job[Note], own: Connection) -> None:
        table = schema.table("river_job")
        await connection.execute(f"UPDATE {table} SET {meanwhile}")
        with pytest.raises(JobNotRunningError) as caught:
            await job.client.job_complete(job, tx=own)
        await connection.execute(f"DELETE FROM {table}")
        with pytest.raises(NotFoundError):
            await job.client.job_complete(job, tx=own)
        raised.append(str(caught.value))

    async def has_raised() -> bool:
        return bool(raised)

    by(workers, work, own)
    async with working(dsn, connection, schema, workers) as bench:
        job = await bench.client.enqueue(Note())
        await eventually(has_raised)
    assert raised[0].startswith(f"job {job.id}: attempt 1 of client ")
    assert "roll the transaction back" in raised[0]


async def test_it_is_there_in_tests(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    async def work(job: Job[Note], own: Connection) -> None:
        await job.client.job_complete(job, tx=own)
        with pytest.raises(JobNotRunningError, match="it is completed in attempt 1"):
            await job.client.job_complete(job, tx=own)

    by(workers, work, connection)
    async with working(dsn, connection, schema, workers) as bench, connection.transaction():
        result = await work_one(bench.client, Note(), tx=connection)
    assert (result.kind, result.job.state, result.error) == (EventKind.JOB_COMPLETED, JobState.COMPLETED, None)
