"""Queues are added to a client that runs, and removed from it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from rivermill import Client, ConfigError, InsertOpts, InsertParams, Job, JobState, NotFoundError, QueueConfig, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, eventually, working

OTHER = InsertOpts(queue="other")


class Gate:
    """A worker that waits at a gate."""

    def __init__(self, workers: Workers) -> None:
        self.open = asyncio.Event()
        self.most = self.now = 0

        @workers.work
        async def work(job: Job[Note]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                if job.args.text == "wait":
                    await self.open.wait()
            finally:
                self.now -= 1


async def reported(bench: Bench) -> tuple[int, dict[str, int]]:
    clients = bench.schema.table("rivermill_client")
    row = await bench.connection.fetchrow(f"SELECT slots, queues FROM {clients}")
    return row["slots"], {name: queue["max_workers"] for name, queue in json.loads(row["queues"]).items()}


async def test_a_queue_is_worked_from_when_it_is_added_until_it_is_removed(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    gate = Gate(workers)
    async with working(dsn, connection, schema, workers, queues={"default": 1}) as bench:
        client = bench.client
        early = (await client.insert(Note("early"), OTHER)).job
        await client.queues.add("other", QueueConfig(2))
        await bench.reaches(early.id, JobState.COMPLETED)
        assert sorted(client.queues) == ["default", "other"]
        assert (await client.queue_get("other")).paused_at is None
        await eventually(lambda: _says(bench, (3, {"default": 1, "other": 2})))

        waiting = [result.job.id for result in await client.insert_many([InsertParams(Note("wait"), OTHER)] * 3)]
        for job_id in waiting[:2]:
            await bench.reaches(job_id, JobState.RUNNING)
        removing = asyncio.create_task(client.queues.remove("other"))
        await asyncio.sleep(0.1)
        assert not removing.done()
        gate.open.set()
        await removing
        # What was claimed has ended, and nothing more is claimed.
        await bench.reaches(waiting[0], JobState.COMPLETED)
        await bench.reaches(waiting[1], JobState.COMPLETED)
        late = (await client.insert(Note("late"), OTHER)).job
        done = await client.enqueue(Note("done"))
        await bench.reaches(done.id, JobState.COMPLETED)
        assert {(await bench.job(job_id)).state for job_id in (waiting[2], late.id)} == {JobState.AVAILABLE}
        await eventually(lambda: _says(bench, (1, {"default": 1})))

        await client.queues.add("other", 5)
        for job_id in (waiting[2], late.id):
            await bench.reaches(job_id, JobState.COMPLETED)
    assert gate.most == 2


async def _says(bench: Bench, wanted: tuple[int, dict[str, int]]) -> bool:
    return await reported(bench) == wanted


async def test_a_paused_queue_is_added_paused(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    Gate(workers)
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name, paused_at) VALUES ('other', now())")
    async with working(dsn, connection, schema, workers) as bench:
        await bench.client.queues.add("other", 1)
        job = (await bench.client.insert(Note(), OTHER)).job
        done = await bench.client.enqueue(Note())
        await bench.reaches(done.id, JobState.COMPLETED)
        assert (await bench.job(job.id)).state is JobState.AVAILABLE
        await bench.client.queue_resume("other")
        await bench.reaches(job.id, JobState.COMPLETED)


async def test_a_removal_can_be_given_up_and_ends_with_the_client(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    gate = Gate(workers)
    async with working(dsn, connection, schema, workers, queues={"default": 1, "other": 1}) as bench:
        job = (await bench.client.insert(Note("wait"), OTHER)).job
        await bench.reaches(job.id, JobState.RUNNING)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bench.client.queues.remove("other")
        assert "other" in bench.client.queues
        more = (await bench.client.insert(Note(), OTHER)).job
        removing = asyncio.create_task(bench.client.queues.remove("other"))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(bench.client.stop(cancel=True))
        await removing
        await stopping
    async with Client(dsn, schema=schema) as client:
        assert (await client.job_get(more.id)).state is JobState.AVAILABLE
    assert gate.now == 0


async def test_what_is_refused(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    Gate(workers)
    client = Client(dsn, workers=workers, schema=schema)
    with pytest.raises(ConfigError, match="queues="):
        await client.start()
    await client.queues.add("default", 1)
    await client.start()
    for name, config, message in (
        ("default", 1, "already"),
        ("No Such", 1, "lower case"),
        ("other", 0, "max_workers"),
        ("other", 10_001, "max_workers"),
    ):
        with pytest.raises(ConfigError, match=message):
            await client.queues.add(name, config)
    with pytest.raises(NotFoundError, match="other"):
        await client.queues.remove("other")
    await client.stop()
    with pytest.raises(ConfigError, match="without workers="):
        await Client(dsn, schema=schema).queues.add("default", 1)


async def test_a_queue_that_cannot_be_added_is_not(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    Gate(workers)
    async with working(dsn, connection, schema, workers) as bench:
        await connection.execute(f"ALTER TABLE {schema.table('river_queue')} RENAME TO gone")
        with pytest.raises(Exception, match="no River tables"):
            await bench.client.queues.add("other", 1)
        assert list(bench.client.queues) == ["default"]
        await connection.execute(f"ALTER TABLE {schema.table('gone')} RENAME TO river_queue")
        await bench.client.queues.add("other", 1)
        job = (await bench.client.insert(Note(), OTHER)).job
        await bench.reaches(job.id, JobState.COMPLETED)


async def test_a_queue_may_have_intervals_of_its_own(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    Gate(workers)
    often = QueueConfig(1, poll_interval=timedelta(milliseconds=50), fetch_cooldown=timedelta(milliseconds=20))
    async with working(
        dsn, connection, schema, workers, poll_interval=timedelta(hours=1), queues={"default": 1, "other": often}
    ) as bench:
        for _ in range(3):
            # Nobody is told of these, so only polling finds them.
            job_id = await connection.fetchval(
                f"INSERT INTO {schema.table('river_job')} (kind, args, queue) VALUES ('note', '{{}}', 'other') RETURNING id"
            )
            await bench.reaches(job_id, JobState.COMPLETED)
    for wrong in ({"poll_interval": timedelta(0)}, {"fetch_cooldown": timedelta(-1)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            QueueConfig(1, **wrong)  # type: ignore[arg-type]


async def test_the_leader_resigns_on_request(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    Gate(workers)
    leader = schema.table("river_leader")
    async with working(dsn, connection, schema, workers) as bench:

        async def term() -> object:
            return await connection.fetchval(f"SELECT elected_at FROM {leader}")

        first = await eventually(term)
        async with connection.transaction():
            await bench.client.request_resign(tx=connection)

        async def another() -> bool:
            return await term() not in (None, first)

        await eventually(another)


async def test_a_job_whose_insert_told_nobody_is_found_by_the_claim_that_follows_one_that_brought_something(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    silent = Client(dsn, schema=schema.name, fetch_cooldown=timedelta(hours=1), poll_interval=timedelta(hours=1))

    @workers.work
    async def work(job: Job[Note]) -> None:
        if job.args.text == "told":
            await silent.insert(Note("not told"))  # within the cooldown of its client

    config = QueueConfig(2, poll_interval=timedelta(hours=1), fetch_cooldown=timedelta(seconds=2))
    async with working(dsn, connection, schema, workers, queues={"default": config}) as bench:
        await asyncio.sleep(0.1)  # the first claim finds nothing
        told = (await silent.insert(Note("told"))).job
        await bench.reaches(told.id, JobState.COMPLETED)
        await bench.reaches(told.id + 1, JobState.COMPLETED)
    await silent.stop()
