"""The leader's services have a connection of their own only while they need one, and what was cut short is done again."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from rivermill.db import Connection, SharedConnection
from rivermill.maintenance import connection as module
from rivermill.maintenance.connection import LeaderConnection
from rivermill.schema import Schema
from tests.db.run.support import eventually


@dataclass
class Bench:
    """The connection, and who works on it."""

    leaders: LeaderConnection
    shared: SharedConnection
    watcher: Connection

    async def name(self, *, sleep: float = 0.0, quick: bool = True) -> str:
        """The name of the connection that a statement of so many seconds is done on."""

        async def work(connection: Connection) -> str:
            await connection.execute("SELECT pg_sleep($1)", sleep)
            return str(await connection.fetchval("SELECT current_setting('application_name')"))

        return await self.leaders.run(work, quick=quick)

    async def pids(self) -> list[int]:
        rows = await self.watcher.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shared'"
        )
        return [row["pid"] for row in rows]

    async def open_names(self) -> list[str]:
        rows = await self.watcher.fetch(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name IN ('shared', 'own') ORDER BY 1"
        )
        return [row["application_name"] for row in rows]


@pytest.fixture
async def bench(dsn: str, connection: Connection) -> AsyncIterator[Bench]:
    shared, own = SharedConnection(dsn, "shared"), SharedConnection(dsn, "own")
    leaders = LeaderConnection(shared, own)
    yield Bench(leaders, shared, connection)
    await leaders.close()
    await shared.close()


async def test_quick_work_needs_no_connection_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)  # however busy the computer is
    assert [await bench.name() for _ in range(3)] == ["shared"] * 3
    assert await bench.open_names() == ["shared"]


async def test_slow_work_is_done_again_on_one_of_its_own(bench: Bench, connection: Connection, schema: Schema) -> None:
    table = schema.table("river_queue")

    async def work(own: Connection) -> None:
        await own.execute(f"INSERT INTO {table} (name, updated_at) SELECT 'q', now()")  # a second time would be refused
        await own.execute("SELECT pg_sleep($1)", 2 * module.QUICK_SECONDS)

    await bench.leaders.run(work)
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
    assert await bench.name() == "own"


async def test_it_is_closed_once_all_has_been_quick(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await bench.name(sleep=2 * module.QUICK_SECONDS) == "own"
    assert await bench.name() == "own"
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    assert await bench.name(sleep=2 * module.QUICK_SECONDS) == "own"
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)
    assert await bench.name() == "shared"

    async def closed() -> bool:
        return await bench.open_names() == ["shared"]

    await eventually(closed)


async def test_what_waits_for_more_than_statements_never_holds_up_the_others(bench: Bench) -> None:
    assert await bench.name(quick=False) == "own"


async def test_an_error_is_the_callers(bench: Bench) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute("SELECT 1 / 0")

    with pytest.raises(Exception, match="division by zero"):
        await bench.leaders.run(work)
    assert await bench.open_names() == ["shared"]


async def test_a_term_that_ends_in_the_midst_of_work_cuts_no_connection(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)
    assert await bench.name() == "shared"
    before = await bench.pids()
    working = asyncio.create_task(bench.name(sleep=0.3))

    async def sleeping() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    await eventually(sleeping)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await bench.name() == "shared"
    assert await bench.pids() == before


async def test_what_fails_after_the_end_of_a_term_is_nobodys(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    begun = asyncio.Event()

    async def work(own: Connection) -> None:
        begun.set()
        await own.execute("SELECT 1 / CASE WHEN pg_sleep(0.3) IS NULL THEN 1 ELSE 0 END")

    working = asyncio.create_task(bench.leaders.run(work))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await bench.name() == "shared"
    gc.collect()
    assert told == []


async def test_what_waits_for_its_turn_when_the_term_ends_is_not_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client leads by then, and both would insert the same periodic job."""
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)
    begun = []

    async def work(_: Connection) -> None:
        begun.append(True)

    async with bench.shared.acquire():
        waiting = asyncio.create_task(bench.leaders.run(work))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 20)
    assert await bench.name() == "shared"
    assert begun == []


async def test_what_does_not_end_is_cut_off_with_its_caller(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_SECONDS", 60.0)
    monkeypatch.setattr(module, "_LONGEST_END_SECONDS", 0.1)
    working = asyncio.create_task(bench.name(sleep=3_600.0))

    async def sleeping() -> bool:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

    await eventually(sleeping)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(working, 20)
    assert await bench.name() == "shared"
