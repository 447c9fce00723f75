"""What a client does beside plain jobs, through a pooler that lends servers by the transaction; some of it whatever the default
isolation of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rivermill import Concurrency, Job, JobState, RateLimit, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.parts import Part, assert_in_order, left, part
from tests.db.run.pgbouncer import pgbouncer
from tests.db.run.support import Bench, Note, eventually, running_for, working


def through(
    url: str, connection: Connection, schema: Schema, workers: Workers, **more: Any
) -> AbstractAsyncContextManager[Bench]:
    """A client that hears nothing and shares its connections."""
    options = {"poll_only": True, "transaction_pooler": True, "poll_interval": timedelta(seconds=0.2)}
    return working(url, connection, schema, workers, **options, **more)


@pytest.fixture(params=["read committed", "repeatable read"])
async def pooler_of(
    request: pytest.FixtureRequest, tmp_path: Path, connection: Connection, login: tuple[str, str]
) -> AsyncIterator[str]:
    """A pooler whose servers begin transactions so where nothing is said."""
    role, own = login
    await connection.execute(f"ALTER ROLE {role} SET default_transaction_isolation = '{request.param}'")
    with pgbouncer(tmp_path, own) as url:
        yield url


async def test_limits_and_sequences(pooler_of: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    now, most = 0, 0

    async def run() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    @workers.work
    async def note(job: Job[Note]) -> None:
        await run()

    @workers.work
    async def work(job: Job[Part]) -> None:
        await run()

    limits = {"default": Concurrency(global_limit=2)}
    async with (
        through(pooler_of, connection, schema, workers, client_id="one", concurrency_limits=limits) as bench,
        through(pooler_of, connection, schema, workers, client_id="two", concurrency_limits=limits),
    ):
        await bench.client.queue_rate_limit("default", RateLimit(1000, timedelta(seconds=1)))
        await bench.client.insert_many([part(of) for of in "aabab"])
        await bench.client.insert_many([Note() for _ in range(20)])
        await bench.completes(25)

        async def nothing_left() -> bool:
            return await left(connection, schema) == [0, 0]

        await eventually(nothing_left)
    assert most == 2
    await assert_in_order(connection, schema)


async def test_jobs_of_a_dead_client_are_rescued(pooler: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    dead = await running_for(connection, schema, "dead", "1 minute")
    alive = await running_for(connection, schema, "alive", "-1 hour")
    async with through(pooler, connection, schema, workers, retry_policy=lambda _: datetime.now(UTC)) as bench:
        row = await bench.reaches(dead, JobState.COMPLETED)
        assert [error.error for error in row.errors] == ["Stuck job rescued by JobRescuer"]
        assert (await bench.job(alive)).state is JobState.RUNNING


async def test_what_is_claimed_can_be_stopped_and_resumed(
    pooler: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    clients = schema.table("rivermill_client")

    async def becomes(state: str) -> None:
        async def check() -> bool:
            return bool(await connection.fetchval(f"SELECT state FROM {clients}") == state)

        await eventually(check)

    async with through(pooler, connection, schema, workers) as bench:
        await connection.execute(f"UPDATE {clients} SET wanted_state = 'cordoned'")
        await becomes("drained")
        job = await bench.client.enqueue(Note())
        await asyncio.sleep(0.5)  # more than the poll interval
        assert (await bench.job(job.id)).state is JobState.AVAILABLE
        await connection.execute(f"UPDATE {clients} SET wanted_state = 'accepting'")
        await bench.reaches(job.id, JobState.COMPLETED)

        await bench.client.queue_pause("default")
        job = await bench.client.enqueue(Note())
        await bench.client.queue_resume("default")
        await bench.reaches(job.id, JobState.COMPLETED)


async def test_what_a_worker_commits_itself(pooler: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    """Its progress before it fails, and that the job is done."""
    own = await asyncpg.connect(pooler, statement_cache_size=0)
    skipped: list[bool] = []

    @workers.work
    async def work(job: Job[Note]) -> None:
        with job.step("first") as step:
            skipped.append(not step.needed)
            if step.needed:
                async with own.transaction():
                    await job.client.job_set_step(job, tx=own)
                raise OSError("interrupted")
        async with own.transaction():
            job.record_output("done")
            await job.client.job_complete(job, tx=own)

    try:
        async with through(pooler, connection, schema, workers, retry_policy=lambda _: datetime.now(UTC)) as bench:
            job = await bench.client.enqueue(Note())
            row = await bench.reaches(job.id, JobState.COMPLETED)
    finally:
        await own.close()
    assert skipped == [False, True]
    assert [error.error for error in row.errors] == ["OSError: interrupted"]
    assert (row.metadata or {})["output"] == "done"
