"""A database that was away: its clients were silent because nobody could write, which says nothing about their lives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
import pytest

from devcluster import temporary_postgres
from rivermill import Client, Job, Workers
from rivermill.db import Connection
from rivermill.leader import ElectionTimings
from rivermill.maintenance.services import MaintenanceTimings
from rivermill.migrations import LINES, Migrator
from rivermill.notify import ListenerTimings
from rivermill.runtime import Runtime
from rivermill.schema import Schema
from rivermill.timings import Timings
from tests.db.run.test_work import eventually

DEAD_AFTER = 5.0
TIMINGS = Timings(
    election=ElectionTimings(interval=0.2, jitter=0.1, ttl=1.5, trust=1.2),
    maintenance=MaintenanceTimings(rescue=0.1, dead_after=DEAD_AFTER),
    listener=ListenerTimings(heartbeat=0.3, check=0.2, timeout=5.0),
)
SLOW = "SELECT state::text, attempt FROM river_job WHERE attempted_by[1] = 'slow'"


@dataclass
class Nothing:
    kind: ClassVar[str] = "nothing"


async def add_slow_client(connection: Connection) -> None:
    """A client that runs a job and writes its heartbeats from this test."""
    await connection.execute(
        "INSERT INTO rivermill_client (client_id, host, pid, version, queues, slots) VALUES ('slow', 'h', 1, '0', '{}', 1)"
    )
    await connection.execute(
        "INSERT INTO river_job (kind, args, state, attempt, max_attempts, attempted_at, attempted_by) "
        "VALUES ('nothing', '{}', 'running', 1, 25, now(), ARRAY['slow'])"
    )


async def beat(dsn: str, seconds: float) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(int(seconds / 0.3)):
            await connection.execute("UPDATE rivermill_client SET last_seen_at = now() WHERE client_id = 'slow'")
            await asyncio.sleep(0.3)
    finally:
        await connection.close()


async def leader_is_back(dsn: str) -> None:
    """Wait until a leader was elected after the restart, and has had time to judge others."""
    connection = await asyncpg.connect(dsn)
    try:

        async def elected() -> bool:
            return bool(
                await connection.fetchval("SELECT count(*) FROM river_leader WHERE elected_at > pg_postmaster_start_time()")
            )

        await eventually(elected)
        await asyncio.sleep(1.0)
    finally:
        await connection.close()


async def test_living_clients_keep_their_jobs_over_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Runtime.__init__
    monkeypatch.setattr(Runtime, "__init__", lambda self, *args: original(self, *args, timings=TIMINGS))
    workers = Workers()

    @workers.work
    async def work(job: Job[Nothing]) -> None:
        pass

    with temporary_postgres() as server:
        connection = await asyncpg.connect(server.url())
        for line in LINES:
            await Migrator(connection, Schema("public"), line).up()
        await add_slow_client(connection)
        await connection.close()
        async with Client(server.url(), workers=workers, queues={"default": 1}):
            await beat(server.url(), DEAD_AFTER)  # the leader's own heartbeats are steady by now
            server.stop()
            await asyncio.sleep(DEAD_AFTER)
            server.start()
            await leader_is_back(server.url())
            await beat(server.url(), DEAD_AFTER)
            connection = await asyncpg.connect(server.url())
            try:
                assert tuple(await connection.fetchrow(SLOW)) == ("running", 1)

                async def rescued() -> bool:
                    return bool(await connection.fetchval(SLOW) != "running")

                await eventually(rescued)  # now it is silent although it could write
            finally:
                await connection.close()
