"""Who is cancelled or timed out while using the connection that tasks share leaves nothing behind for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rivermill import ConfigError
from rivermill.db import Connection, SharedConnection
from rivermill.schema import Schema


@pytest.mark.parametrize("pooled", [True, False])
async def test_a_cancelled_user_leaves_no_transaction_open(
    dsn: str, connection: Connection, schema: Schema, pooled: bool
) -> None:
    """Wherever the first user was, the row of the second is there for others at once."""
    table = schema.table("river_queue")
    shared = SharedConnection(dsn, "cancelled", pooled=pooled)

    async def use() -> None:
        async with shared.acquire() as mine, mine.transaction():
            await mine.execute("SELECT 1")

    try:
        for turns in range(30):
            await use()
            first = asyncio.create_task(use())
            for _ in range(turns):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            async with shared.acquire() as mine:
                await mine.execute(f"INSERT INTO {table} (name, updated_at) VALUES ($1, now())", f"q{turns}")
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == turns + 1
    finally:
        await shared.close()


@pytest.mark.parametrize("pooled", [True, False])
async def test_a_user_that_is_cancelled_as_its_connection_is_lost_is_cancelled(
    dsn: str, connection: Connection, pooled: bool
) -> None:
    """Its transaction cannot be rolled back then: whoever took that for a failure would try again instead of ending."""
    shared, inside = SharedConnection(dsn, "cancelled", pooled=pooled), asyncio.get_running_loop().create_future()

    async def use() -> None:
        async with shared.acquire() as mine, mine.transaction():
            inside.set_result(mine)
            await asyncio.Event().wait()

    try:
        user = asyncio.create_task(use())
        mine = await inside
        lost = asyncio.Event()
        mine.add_termination_listener(lambda _: lost.set())
        await connection.execute("SELECT pg_terminate_backend($1)", mine.get_server_pid())
        await lost.wait()
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user
    finally:
        await shared.close()


async def test_a_user_whose_time_is_up_leaves_no_transaction_open(dsn: str) -> None:
    """As where the driver gives up on a statement that begins one."""
    shared = SharedConnection(dsn, "late")

    async def use() -> None:
        async with shared.acquire() as mine:
            await mine.execute("BEGIN")
            raise TimeoutError

    try:
        with pytest.raises(TimeoutError):
            await use()
        async with shared.acquire() as mine:
            assert not mine.is_in_transaction()
    finally:
        await shared.close()


def test_a_second_event_loop_is_refused_until_the_first_has_closed_it(dsn: str) -> None:
    shared = SharedConnection(dsn, "loops")

    async def use() -> None:
        async with shared.acquire() as mine:
            await mine.execute("SELECT 1")

    async def use_and_close() -> None:
        await asyncio.gather(use(), use())  # the lock, too, belongs to a loop once somebody has waited for it
        await shared.close()

    asyncio.run(use_and_close())
    asyncio.run(use_and_close())
    with asyncio.Runner() as first:
        first.run(use())
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"belongs to another event loop, where .*: use SyncClient"):
                in_thread(use)
        first.run(use_and_close())


def in_thread(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in an event loop of its own, while another one waits."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(call())).result()
