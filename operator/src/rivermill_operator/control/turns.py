"""Who writes to Kubernetes first where many fleets have something to write at once."""

from __future__ import annotations

import asyncio
import contextlib

#: Nothing waits longer for others to grow: where some fleet always does, the rest is written, too.
PATIENCE_SECONDS = 2.0


class Turn:
    """Writes of one sort: a reusable context around each of them.

    Args:
        most: writes at once.
        after: writes that come first while there are any, for ``PATIENCE_SECONDS``.
    """

    def __init__(self, most: int, after: Turn | None = None) -> None:
        self.free = asyncio.Semaphore(most)
        self._after = after
        self._asked = 0
        self._none = asyncio.Event()
        self._none.set()

    async def __aenter__(self) -> None:
        if self._after is not None:
            await self._after.over()
        self._asked += 1
        self._none.clear()
        try:
            await self.free.acquire()
        except asyncio.CancelledError:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.free.release()
        self._leave()

    def _leave(self) -> None:
        self._asked -= 1
        if not self._asked:
            self._none.set()

    async def over(self) -> None:
        """Wait until none is asked for or under way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._none.wait()


class Turns:
    """Waited for at each write to Kubernetes: pods that jobs wait for come before all that is said of fleets.

    Where many fleets grow at once, the Events, statuses and annotations of the first would keep this process and the API server
    busy while the last wait.

    Args:
        growth: writes at once that make pods. Few are quick: each beside others may need a connection, whose handshake costs
            more than the write.
        fleet: other writes at once to Deployments, pods and what belongs to them.
        report: Events and statuses at once.
    """

    def __init__(self, growth: int = 32, fleet: int = 16, report: int = 8) -> None:
        self.growth = Turn(growth)
        self.fleet = Turn(fleet, self.growth)
        self.report = Turn(report, self.growth)
