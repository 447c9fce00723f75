"""What a program asks of its client that may wait for a lock: the duplicate of a unique job, or a row that somebody changes.

The client's connection is used in turn, by its outcomes and elections, too. So a call waits there for a moment only; then what
it did is undone, and it is done again on a connection that is opened for such calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from rivermill.db import Connection, SharedConnection

#: A call that waits longer than this for a lock holds up outcomes and elections no longer.
LOCK_SECONDS = 0.1

ResultT = TypeVar("ResultT")

logger = logging.getLogger("rivermill.client")


class WaitingCalls:
    """The client's connection for calls that get their locks at once, and another one for those that do not.

    Args:
        shared: the client's.
        own: for calls that wait; closed when there are none. None where it is the caller's transaction that they happen in.
    """

    def __init__(self, shared: SharedConnection, own: SharedConnection | None) -> None:
        self._shared = shared
        self._own = own
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        """Do some work.

        Args:
            work: given the connection. It is done again, after what it did was rolled back, if it had to wait for a lock.

        Raises:
            DATABASE_ERRORS: as ``work`` does, or there is no connection.
        """
        if self._own is None:
            async with self._shared.acquire() as connection:
                return await work(connection)
        try:
            # One at a time, so that others have the connection between any two that wait.
            async with self._own_turn():
                return await self._briefly(work)
        except asyncpg.LockNotAvailableError:
            logger.info("a call waits for a lock, on a connection of its own")
        return await self._patiently(self._own, work)

    def _own_turn(self) -> asyncio.Lock:
        # The client may be used in another event loop, once its connection is closed.
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._turn = loop, asyncio.Lock()
        return self._turn

    async def _briefly(self, work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        async with self._shared.acquire() as connection, connection.transaction(isolation="read_committed"):
            await connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}")
            return await work(connection)

    async def _patiently(self, own: SharedConnection, work: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
        self._users += 1
        try:
            async with own.acquire() as connection:
                return await work(connection)
        finally:
            self._users -= 1
            if not self._users:
                await own.close()
