"""What clients do for each other and for the operator: rescue, leadership, cordon and drain."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

import pytest

from rivermill import Job, JobState, PodIdentity, Workers, failures
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, running_for, working


async def test_dead_clients_jobs_are_rescued(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    table = schema.table("river_job")
    await running_for(connection, schema, "dead", "1 minute")
    await running_for(connection, schema, "alive", "-1 hour")
    async with working(dsn, connection, schema, workers):

        async def rescued() -> bool:
            query = f"SELECT state::text FROM {table} WHERE attempted_by[1] = 'dead'"
            return await connection.fetchval(query) in ("retryable", "completed")

        await eventually(rescued)
        row = await connection.fetchrow(f"SELECT state::text, errors FROM {table} WHERE attempted_by[1] = 'alive'")
        assert row["state"] == "running"
    errors = await connection.fetchval(f"SELECT errors[1] FROM {table} WHERE attempted_by[1] = 'dead'")
    assert json.loads(errors)["error"] == "Stuck job rescued by JobRescuer"


async def test_jobs_whose_outcome_was_not_written_before_the_end_are_rescued_soon(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def deaf(job: Job[Note]) -> None:
        """Ends, but only when it is told to for the second time: nothing is written any more by then."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    others = Workers()

    @others.work
    async def work(job: Job[Note]) -> None: ...

    async with working(dsn, connection, schema, workers) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        await bench.client.stop(cancel=True)
        assert bench.client.left_running == ()
    async with working(dsn, connection, schema, others) as bench:
        row = await bench.reaches(job.id, JobState.COMPLETED)
    assert [error.error for error in row.errors] == ["Stuck job rescued by JobRescuer"]


async def test_leader_takes_over(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    leader = schema.table("river_leader")
    await connection.execute(f"INSERT INTO {leader} VALUES (now(), now() + interval '1 second', 'gone')")
    async with working(dsn, connection, schema, workers) as bench:

        async def taken() -> bool:
            return await connection.fetchval(f"SELECT leader_id FROM {leader}") == bench.client.settings.client_id

        await eventually(taken)
    assert await connection.fetchval(f"SELECT count(*) FROM {leader}") == 0


async def test_cordon_drain_uncordon(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await release.wait()

    clients = schema.table("rivermill_client")

    async def want(state: str, action: str) -> None:
        await connection.execute(f"UPDATE {clients} SET wanted_state = $1", state)
        payload = {"action": action, "client_ids": [client_id]}
        await connection.execute("SELECT pg_notify($1, $2)", schema.channel("rivermill_control"), json.dumps(payload))

    async def state() -> str:
        return str(await connection.fetchval(f"SELECT state FROM {clients}"))

    async with working(dsn, connection, schema, workers, http_port=0) as bench:
        client_id = bench.client.settings.client_id
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        await want("cordoned", "cordon")
        await eventually(lambda: _equals(state, "cordoned"))
        waiting = await bench.client.enqueue(Note())
        release.set()
        await eventually(lambda: _equals(state, "drained"))
        assert (await bench.job(job.id)).state is JobState.COMPLETED
        assert (await bench.job(waiting.id)).state is JobState.AVAILABLE
        await want("accepting", "uncordon")
        await bench.reaches(waiting.id, JobState.COMPLETED)
        await eventually(lambda: _equals(state, "accepting"))


async def test_a_client_whose_first_attempts_fail_leaves_jobs_alone_until_it_is_judged(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    """An operator that looks half a second later finds ten attempts at most, of the hundreds that could have failed by then."""

    @workers.work
    async def work(job: Job[Note]) -> None:
        raise RuntimeError("this release is broken")

    table, clients = schema.table("river_job"), schema.table("rivermill_client")
    await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'note', '{{}}' FROM generate_series(1, 2000)")
    told = asyncio.Event()
    await connection.add_listener(schema.channel("rivermill_control"), lambda *_: told.set())

    async def failed() -> bool:
        # Looks as often as it is told to.
        await told.wait()
        told.clear()
        return bool(await connection.fetchval(f"SELECT sum((value ->> 'failed')::int) >= 3 FROM {clients}, jsonb_each(queues)"))

    pod = PodIdentity("n", "p", "u", None)
    async with asyncio.timeout(60), working(dsn, connection, schema, workers, queues={"default": 5}, pod=pod) as bench:
        await eventually(failed)
        await asyncio.sleep(0.5)
        await connection.execute(f"UPDATE {clients} SET wanted_state = 'cordoned'")
        payload = {"action": "cordon", "client_ids": [bench.client.settings.client_id]}
        await connection.execute("SELECT pg_notify($1, $2)", schema.channel("rivermill_control"), json.dumps(payload))

        async def drained() -> bool:
            return str(await connection.fetchval(f"SELECT state FROM {clients}")) == "drained"

        await eventually(drained)
    assert 3 <= await connection.fetchval(f"SELECT sum(attempt) FROM {table}") <= 10


async def test_a_client_that_nobody_judges_goes_on(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        raise RuntimeError("what it needs is away")

    monkeypatch.setattr(failures, "HOLD_SECONDS", 0.3)
    table = schema.table("river_job")
    await connection.execute(f"INSERT INTO {table} (kind, args) SELECT 'note', '{{}}' FROM generate_series(1, 100)")

    async def tried() -> bool:
        return bool(await connection.fetchval(f"SELECT count(*) = 100 FROM {table} WHERE attempt > 0"))

    pod = PodIdentity("n", "p", "u", None)
    async with working(dsn, connection, schema, workers, queues={"default": 5}, pod=pod):
        await eventually(tried)


async def _equals(value: Callable[[], Awaitable[str]], wanted: str) -> bool:
    return await value() == wanted
