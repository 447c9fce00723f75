"""Starting and stopping a client while it starts, twice at once, and from inside of its jobs."""

from __future__ import annotations

import asyncio

import pytest

from rivermill import Client, ConfigError, InsertOpts, Job, JobState, MigrationError, NotStartedError, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working


@pytest.fixture
def notes(workers: Workers) -> Workers:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    return workers


async def fleet(connection: Connection, schema: Schema) -> int:
    count: int = await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}")
    return count


async def test_of_two_starts_at_once_one_is_refused(dsn: str, connection: Connection, schema: Schema, notes: Workers) -> None:
    client = Client(dsn, workers=notes, schema=schema, queues={"default": 1})
    first, second = await asyncio.gather(client.start(), client.start(), return_exceptions=True)
    assert (first, type(second)) == (None, ConfigError)
    assert await fleet(connection, schema) == 1
    await client.stop()
    assert await fleet(connection, schema) == 0


async def test_a_stop_while_the_client_starts_stops_it(
    dsn: str, connection: Connection, schema: Schema, notes: Workers
) -> None:
    client = Client(dsn, workers=notes, schema=schema, queues={"default": 1})
    await asyncio.gather(client.start(), client.stop())
    assert await fleet(connection, schema) == 0
    await asyncio.wait_for(client.stopped(), 20)


async def test_a_stop_while_a_start_is_cancelled_leaves_nothing(dsn: str, schema: Schema, notes: Workers) -> None:
    client = Client(dsn, workers=notes, schema=schema, queues={"default": 1})
    starting = asyncio.create_task(client.start())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(client.stop())
    await asyncio.sleep(0)
    starting.cancel()
    await stopping
    with pytest.raises(asyncio.CancelledError):
        await starting
    with pytest.raises(NotStartedError):
        await client.stopped()


async def test_a_start_that_fails_leaves_no_connection(
    dsn: str, connection: Connection, empty_schema: Schema, notes: Workers
) -> None:
    with pytest.raises(MigrationError):
        async with Client(dsn, workers=notes, schema=empty_schema, queues={"default": 1}, client_id="failing"):
            pass
    count = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'rivermill failing'"
    await eventually(lambda: connection.fetchval(count))  # a server process ends a little later than its connection


async def test_a_job_that_stops_its_client_is_told_how(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    stopping: list[asyncio.Task[None]] = []

    @workers.work
    async def work(job: Job[Note]) -> None:
        if job.args.text == "by a task":
            stopping.append(asyncio.create_task(job.client.stop()))
        else:
            await job.client.stop()

    async with working(dsn, connection, schema, workers) as bench:
        waits = (await bench.client.insert(Note(), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(waits.id, JobState.DISCARDED)
        assert "asyncio.create_task(job.client.stop())" in row.errors[0].error
        stops = await bench.client.enqueue(Note("by a task"))
        await asyncio.wait_for(bench.client.stopped(), 20)
        await asyncio.gather(*stopping)
        assert (await bench.job(stops.id)).state is JobState.COMPLETED
