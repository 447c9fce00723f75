"""Starting and stopping a client while it starts, twice at once, and from inside of its jobs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

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


async def client_with_a_job(dsn: str, schema: Schema, workers: Workers, gate: asyncio.Event) -> tuple[Client, int]:
    """A client that runs a job, which ends when the gate is opened; and the job's id."""

    @workers.work
    async def work(job: Job[Note]) -> None:
        begun.set()
        await gate.wait()

    begun = asyncio.Event()
    client = Client(dsn, workers=workers, schema=schema, queues={"default": 1}, shutdown_timeout=timedelta(minutes=5))
    await client.start()
    job = await client.enqueue(Note())
    await asyncio.wait_for(begun.wait(), 20)
    return client, job.id


async def stop_in_vain(client: Client) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.stop(), 0.2)


async def state(connection: Connection, schema: Schema, job_id: int) -> tuple[str, int]:
    sql = f"SELECT state::text, attempt FROM {schema.table('river_job')} WHERE id = $1"
    return tuple(await connection.fetchrow(sql, job_id))


async def test_a_stop_whose_caller_waits_no_more_goes_on(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    """Nobody calls it again, and the job ends in its time."""
    gate = asyncio.Event()
    client, job_id = await client_with_a_job(dsn, schema, workers, gate)
    await stop_in_vain(client)
    assert await state(connection, schema, job_id) == ("running", 1)
    gate.set()
    await asyncio.wait_for(client.stopped(), 20)
    assert await state(connection, schema, job_id) == ("completed", 1)
    assert await fleet(connection, schema) == 0
    name = f"rivermill {client.settings.client_id}"[:63]

    async def closed() -> bool:
        sql = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = $1"
        return bool(await connection.fetchval(sql, name))

    await eventually(closed)


async def test_a_stop_in_vain_is_followed_by_one_that_hurries(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    """As River's Stop with a context that ends, and StopAndCancel after it."""
    client, job_id = await client_with_a_job(dsn, schema, workers, asyncio.Event())
    await stop_in_vain(client)
    await stop_in_vain(client)
    await asyncio.wait_for(client.stop(cancel=True), 20)
    assert await state(connection, schema, job_id) == ("available", 0)
    assert client.left_running == ()
    await asyncio.wait_for(client.stop(), 20)


async def test_a_stop_that_hurries_does_so_although_its_caller_is_cancelled(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    client, job_id = await client_with_a_job(dsn, schema, workers, asyncio.Event())
    stopping = asyncio.create_task(client.stop(cancel=True))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    await asyncio.wait_for(client.stopped(), 20)
    assert await state(connection, schema, job_id) == ("available", 0)
