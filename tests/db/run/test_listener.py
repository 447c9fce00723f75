"""The listener thread ends by a bug: nobody says any more that the client lives."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import timedelta

import pytest

from rivermill import Client, ConfigError, Job, JobState, RivermillError, Workers
from rivermill.db import Connection
from rivermill.errors import LoginRefusedError
from rivermill.login import Login
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, eventually, working


@pytest.fixture
def workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await asyncio.sleep(60)

    return workers


async def test_what_was_missed_without_the_connection_is_fetched_after_it(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    """Nobody polls here, and nothing is told: a new connection says that there may be jobs."""
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None: ...

    async with working(dsn, connection, schema, workers, poll_interval=timedelta(hours=1)) as bench:

        async def unseen() -> int | None:
            """A job that no claim is on its way for any more, such as the one that came with the start."""
            sql = f"INSERT INTO {schema.table('river_job')} (kind, args) VALUES ('note', '{{}}') RETURNING id"
            job_id: int = await connection.fetchval(sql)
            await asyncio.sleep(0.3)
            return job_id if (await bench.job(job_id)).state is JobState.AVAILABLE else None

        async def cut() -> bool:
            name = f"rivermill {bench.client.settings.client_id}"[:63]
            sql = (
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = $1 AND query LIKE 'LISTEN%'"
            )
            return bool(await connection.fetchval(sql, name))

        job_id = await eventually(unseen)
        await eventually(cut)
        await bench.reaches(job_id, JobState.COMPLETED)


async def test_a_listener_that_cannot_begin_fails_the_start(dsn: str, schema: Schema, workers: Workers) -> None:
    wrong = f"{dsn}{'&' if '?' in dsn else '?'}nonsense=1"
    client = Client(dsn, workers=workers, schema=schema, queues={"default": 1}, listener_dsn=wrong)
    async with asyncio.timeout(20):
        with pytest.raises(ConfigError, match=r"^listener_dsn \(RIVER_LISTENER_DSN\): the database URL of .*nonsense"):
            await client.start()
    await client.stop()


async def break_listener(bench: Bench) -> None:
    """Ask the client for a state that no release knows, which the table has to be altered for."""
    clients = bench.schema.table("rivermill_client")
    await bench.connection.execute(f"ALTER TABLE {clients} DROP CONSTRAINT wanted_state_known")
    await bench.connection.execute(f"UPDATE {clients} SET wanted_state = 'asleep'")


async def test_its_death_ends_the_client(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    """Running jobs are given back at once, since others would take them after the silence of 30 s."""
    async with working(dsn, connection, schema, workers, http_port=0, shutdown_timeout=timedelta(hours=1)) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        await break_listener(bench)
        async with asyncio.timeout(20):
            with pytest.raises(RivermillError, match="listener died: ValueError"):
                await bench.client.stopped()
        assert await asyncio.to_thread(live, bench) == 503
        async with asyncio.timeout(20):
            await bench.client.stop()
    async with Client(dsn, schema=schema) as client:
        row = await client.job_get(job.id)
    assert (row.state, row.attempt) == (JobState.AVAILABLE, 0)


async def test_its_death_ends_the_wait_for_jobs(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    async with working(dsn, connection, schema, workers, shutdown_timeout=timedelta(hours=1)) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        stopping = asyncio.create_task(bench.client.stop(), name="stop")
        await asyncio.sleep(0.1)
        await break_listener(bench)
        async with asyncio.timeout(20):
            await stopping


@pytest.mark.parametrize(("seconds", "mended"), [(1.0, False), (30.0, True)])
async def test_a_login_that_is_refused_for_long_ends_the_client(
    login: tuple[str, str], connection: Connection, schema: Schema, workers: Workers, *, seconds: float, mended: bool
) -> None:
    """A process has its password from when it was started; one that a password is refused to for a moment works on."""
    role, dsn = login
    async with working(dsn, connection, schema, workers) as bench:
        assert bench.client._runtime is not None
        listener = bench.client._runtime._listener
        listener._timings = replace(listener._timings, refused=seconds)
        await connection.execute(f"ALTER ROLE {role} PASSWORD 'two'")
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
        await connection.fetchval(cut, role)

        async def refused() -> bool:
            return is_refused(listener._login)

        async def connected() -> bool:
            return listener.healthy

        await eventually(refused)
        if mended:
            await connection.execute(f"ALTER ROLE {role} PASSWORD 'one'")
            await eventually(connected)
            return
        async with asyncio.timeout(30):
            with pytest.raises(RivermillError, match=f'password authentication failed for user "{role}"; it has been so for'):
                await bench.client.stopped()
            await bench.client.stop()


@pytest.mark.parametrize("which", ["claims", "outcomes", "maintenance"])
async def test_a_login_that_is_refused_to_one_connection_ends_the_client(
    login: tuple[str, str], dsn: str, connection: Connection, schema: Schema, workers: Workers, which: str
) -> None:
    """The listener, which has a login of its own here, hears nothing of it and goes on with its heartbeats."""
    role, own = login
    async with working(own, connection, schema, workers, listener_dsn=dsn) as bench:
        runtime = bench.client._runtime
        assert runtime is not None
        runtime._login_check._longest = 1.0
        leaders = runtime._maintenance._connection
        leaders._own_until = float("inf")  # as while the leader's statements are slow
        shared = {"claims": runtime._claim, "outcomes": runtime._shared, "maintenance": leaders._own}[which]

        async def connected() -> bool:
            return shared._connection is not None

        await eventually(connected)
        await connection.execute(f"ALTER ROLE {role} PASSWORD 'two'")
        assert shared._connection is not None
        await connection.fetchval("SELECT pg_terminate_backend($1)", shared._connection.get_server_pid())
        async with asyncio.timeout(30):
            with pytest.raises(RivermillError, match=f'login check died.* for user "{role}"; it has been so for'):
                await bench.client.stopped()
        assert runtime._listener.healthy


def is_refused(login: Login) -> bool:
    try:
        login.check(0.0)
    except LoginRefusedError:
        return True
    return False


def live(bench: Bench) -> int:
    assert bench.client._runtime is not None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{bench.client._runtime.http_port}/livez", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
