"""What becomes of running jobs when their client stops: they may end, then they are asked back."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from rivermill.executor import Executor

#: Time an interrupted job has to end; after that its row stays ``running``, and others rescue it.
_SOFT_STOP_SECONDS = 3.0

logger = logging.getLogger("rivermill.runtime")


class Drain:
    """The wait for the running jobs of a client that claims no more.

    Args:
        executor: runs them.
        patience: how long they may go on.
    """

    def __init__(self, executor: Executor, patience: timedelta) -> None:
        self._executor = executor
        self._seconds = patience.total_seconds()
        self._wait: asyncio.Timeout | None = None

    def hurry(self) -> None:
        """Ask the jobs back at once, whether ``run`` has begun or not."""
        self._seconds = 0.0
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Wait until no job is left, or until those that are left ignore that they were asked back."""
        try:
            async with asyncio.timeout(self._seconds) as self._wait:
                await self._executor.idle()
        except TimeoutError:
            logger.warning("running jobs are given back", extra={"running": self._executor.unfinished})
        finally:
            self._wait = None
        if self._executor.unfinished:
            self._executor.soft_stop()
            try:
                async with asyncio.timeout(_SOFT_STOP_SECONDS):
                    await self._executor.idle()
            except TimeoutError:
                logger.warning("jobs ignore their cancellation", extra={"running": self._executor.unfinished})
