"""From the winning of a term to its end: a task that runs the leader's services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Terms:
    """Starts and ends the leader's services.

    Args:
        run: the services, until cancelled.
        on_done: called with each task that has ended, however it did.
    """

    def __init__(self, run: Callable[[], Awaitable[None]], on_done: Callable[[asyncio.Task[None]], None]) -> None:
        self._run = run
        self._on_done = on_done
        self._tasks: set[asyncio.Task[None]] = set()
        self._current: asyncio.Task[None] | None = None

    def change(self, leading: bool) -> None:
        """Leadership was won, or has been lost or resigned."""
        if self._current is not None:
            self._current.cancel()
            self._current = None
        if leading:
            self._current = asyncio.create_task(self._serve(list(self._tasks)), name="rivermill maintenance")
            self._tasks.add(self._current)
            self._current.add_done_callback(self._tasks.discard)
            self._current.add_done_callback(self._on_done)

    async def close(self) -> None:
        """End them, and wait until they have put away what they had out."""
        self.change(leading=False)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, earlier: list[asyncio.Task[None]]) -> None:
        if earlier:
            await asyncio.wait(earlier)
        await self._run()
