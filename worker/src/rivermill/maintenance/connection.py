"""What the leader's services run their statements on: a connection of their own only while they need one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import asyncpg

from rivermill.db import Connection, SharedConnection

#: A statement that takes longer than this holds up completions and elections no longer.
QUICK_SECONDS = 0.25
#: The services keep a connection of their own until all their work has been quick for so long.
KEEP_SECONDS = 60.0
#: What has not ended so long after its caller was cancelled has no server, or no turn, and is cut off.
_LONGEST_END_SECONDS = 1.0

ResultT = TypeVar("ResultT")

logger = logging.getLogger("rivermill.maintenance")


class LeaderConnection:
    """The client's connection for completions and elections while the services' statements are quick, else one of their own.

    Args:
        shared: the client's.
        own: to be opened when it is needed.
    """

    def __init__(self, shared: SharedConnection, own: SharedConnection) -> None:
        self._shared = shared
        self._own = own
        self._own_until = float("-inf")
        self._users = 0

    async def run(self, work: Callable[[Connection], Awaitable[ResultT]], *, quick: bool = True) -> ResultT:
        """Do some work.

        Args:
            work: given the connection. It is done again, after what it did was rolled back, if a statement took too long.
            quick: whether it waits for nothing but its statements.

        Raises:
            DATABASE_ERRORS: as ``work`` does, or there is no connection.
        """
        if quick and time.monotonic() >= self._own_until:
            if not self._users:
                await self._own.close()
            try:
                begun = asyncio.Event()
                return await _to_its_end(self._on_shared(work, begun), begun)
            except asyncpg.QueryCanceledError:
                logger.info("the leader's statements are slow, and get a connection of their own")
                self._own_until = time.monotonic() + KEEP_SECONDS
        self._users += 1
        try:
            return await self._on_own(work)
        finally:
            self._users -= 1

    async def close(self) -> None:
        """Close the services' own connection."""
        await self._own.close()

    async def _on_shared(self, work: Callable[[Connection], Awaitable[ResultT]], begun: asyncio.Event) -> ResultT:
        async with self._shared.acquire() as connection:
            begun.set()
            return await self._quickly(connection, work)

    async def _quickly(self, connection: Connection, work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(f"SET LOCAL statement_timeout = {int(QUICK_SECONDS * 1000)}")
            return await work(connection)

    async def _on_own(self, work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        async with self._own.acquire() as connection:
            started = time.monotonic()
            result = await work(connection)
        if time.monotonic() - started > QUICK_SECONDS and self._own_until > started:
            self._own_until = time.monotonic() + KEEP_SECONDS
        return result


async def _to_its_end(work: Coroutine[Any, Any, ResultT], begun: asyncio.Event) -> ResultT:
    """Let quick work end where its caller is cancelled: cut off in the midst of it, others would lose the connection.

    What has not begun never does: the term is over, and another client may lead by the time of its turn.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        try:
            if begun.is_set():
                await asyncio.wait([task], timeout=_LONGEST_END_SECONDS)
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody asks for it any more
        raise
    return task.result()
