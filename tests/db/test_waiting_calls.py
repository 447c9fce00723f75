"""A call that waits for a lock does so on a connection that is there for that, and what it did before is undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from rivermill.db import Connection, SharedConnection
from rivermill.schema import Schema
from rivermill.waiting_calls import WaitingCalls
from tests.db.run.support import eventually


@pytest.fixture
async def calls(dsn: str) -> AsyncIterator[WaitingCalls]:
    shared = SharedConnection(dsn, "shared")
    yield WaitingCalls(shared, SharedConnection(dsn, "own"))
    await shared.close()


async def name(connection: Connection) -> str:
    return str(await connection.fetchval("SELECT current_setting('application_name')"))


async def test_what_waits_for_nothing_is_done_on_the_clients(calls: WaitingCalls) -> None:
    assert await calls.run(name) == "shared"


async def test_what_waits_is_undone_and_done_on_another(
    calls: WaitingCalls, dsn: str, connection: Connection, schema: Schema
) -> None:
    table = schema.table("river_queue")
    await connection.execute(f"INSERT INTO {table} (name, updated_at) VALUES ('held', now())")
    names = []

    async def work(on: Connection) -> None:
        names.append(await name(on))
        await on.execute(f"INSERT INTO {table} (name, updated_at) VALUES ('new', now())")  # a second time would be refused
        await on.execute(f"UPDATE {table} SET updated_at = now() WHERE name = 'held'")

    holder = await asyncpg.connect(dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(f"SELECT 1 FROM {table} FOR UPDATE")
    working = asyncio.create_task(calls.run(work))

    async def waits() -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'own' AND wait_event_type = 'Lock'"
        return bool(await connection.fetchval(sql))

    await eventually(waits)
    assert await calls.run(name) == "shared"
    await transaction.commit()
    await holder.close()
    await asyncio.wait_for(working, 20)
    assert names == ["shared", "own"]
    assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 2

    async def closed() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'own'")

    await eventually(closed)


async def test_an_error_is_the_callers(calls: WaitingCalls) -> None:
    async def work(on: Connection) -> None:
        await on.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await calls.run(work)
    assert await calls.run(name) == "shared"


def test_another_event_loop_may_use_it_once_it_is_closed(dsn: str) -> None:
    shared = SharedConnection(dsn, "shared")
    calls = WaitingCalls(shared, SharedConnection(dsn, "own"))

    async def use() -> None:
        assert await asyncio.gather(calls.run(name), calls.run(name)) == ["shared", "shared"]
        await shared.close()

    asyncio.run(use())
    asyncio.run(use())
