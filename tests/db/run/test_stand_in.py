"""A client whose listener alone has no connection lives, and says so; one that cannot say so claims nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rivermill import Job, JobState, Workers
from rivermill.db import Connection
from rivermill.runtime import Runtime
from rivermill.schema import Schema
from tests.db.run.conftest import FAST
from tests.db.run.support import Note, eventually, running_for, working

DEAD_AFTER = 5.0
TIMINGS = replace(
    FAST,
    maintenance=replace(FAST.maintenance, dead_after=DEAD_AFTER),
    listener=replace(FAST.listener, silence=1.0),
)


@pytest.fixture(autouse=True)
def timings(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Runtime.__init__
    monkeypatch.setattr(Runtime, "__init__", lambda self, *args: original(self, *args, timings=TIMINGS))


async def cut(connection: Connection, role: str, keep: int = 0) -> None:
    """Cut a role's connections but one, and let it make no other."""
    await connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND pid <> $2"
    assert await connection.fetchval(sql, role, keep)


async def row(connection: Connection, schema: Schema, job_id: int) -> tuple[Any, ...]:
    sql = f"SELECT state::text, attempt, coalesce(cardinality(errors), 0) FROM {schema.table('river_job')} WHERE id = $1"
    return tuple(await connection.fetchrow(sql, job_id))


async def insert(connection: Connection, schema: Schema, queue: str) -> int:
    sql = f"INSERT INTO {schema.table('river_job')} (kind, args, queue) VALUES ('note', '{{}}', $1) RETURNING id"
    job_id: int = await connection.fetchval(sql, queue)
    return job_id


async def test_jobs_of_a_client_without_a_listener_are_left_to_it(
    login: tuple[str, str], dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    role, own = login
    begun, gate = asyncio.Event(), asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        begun.set()
        await gate.wait()

    async def ended(job_id: int) -> bool:
        return (await row(connection, schema, job_id))[0] == JobState.COMPLETED

    async def rescued(job_id: int) -> bool:
        return (await row(connection, schema, job_id))[2] == 1

    without = {"listener_dsn": own, "leader_election_disabled": True, "queues": {"here": 5}}
    async with working(dsn, connection, schema, workers) as leader, working(dsn, connection, schema, workers, **without) as it:
        job_id = await insert(connection, schema, "here")
        await asyncio.wait_for(begun.wait(), 20)
        await cut(connection, role)
        await asyncio.sleep(DEAD_AFTER + 1.0)
        dead = await running_for(connection, schema, "dead", "1 hour")
        await eventually(lambda: rescued(dead))  # the leader goes by heartbeats
        assert leader.client._runtime is not None
        assert leader.client._runtime.leading
        assert it.client._runtime is not None
        assert not it.client._runtime._listener.healthy
        assert await row(connection, schema, job_id) == ("running", 1, 0)
        gate.set()
        later = await insert(connection, schema, "here")
        await eventually(lambda: ended(job_id))
        await eventually(lambda: ended(later))
        await connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")


async def test_a_client_that_can_say_nothing_claims_nothing(
    login: tuple[str, str], connection: Connection, schema: Schema, workers: Workers
) -> None:
    """Its connection for claims alone is left to it."""
    role, own = login

    @workers.work
    async def work(job: Job[Note]) -> None: ...

    async with working(own, connection, schema, workers, poll_interval=timedelta(seconds=0.1)) as bench:
        first = await insert(connection, schema, "default")

        async def ended(job_id: int) -> bool:
            return (await row(connection, schema, job_id))[0] == JobState.COMPLETED

        await eventually(lambda: ended(first))
        runtime = bench.client._runtime
        assert runtime is not None
        assert runtime._claim._connection is not None
        await cut(connection, role, runtime._claim._connection.get_server_pid())

        async def closed() -> bool:
            return runtime._producer._gate.closed

        await eventually(closed)
        second = await insert(connection, schema, "default")
        await asyncio.sleep(1.0)
        assert await row(connection, schema, second) == ("available", 0, 0)
        await connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        await eventually(lambda: ended(second))
