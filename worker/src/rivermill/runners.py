"""The tasks that attempts run in: one for each that ever waits, and one for any number of those that never do.

Making a task and having the loop begin it costs several times what a short attempt does. One that ends without having waited
for anything has left nothing behind that the next could see, if the context variables are as they were. Where attempts do
wait, each has a task from the beginning: the next one's is otherwise begun a whole turn of the loop after its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, Protocol, TypeVar

#: Time after which a task lets the loop look at everything else.
_TURN_SECONDS = 0.005


class Runnable(Protocol):
    """What a task is given to run: when it began (monotonic seconds), and the task."""

    at: float
    task: asyncio.Task[None] | None


ItemT = TypeVar("ItemT", bound=Runnable)


class Runners(Generic[ItemT]):
    """Runs an async function for items, in the order in which they are started.

    Args:
        execute: the function; it sets the item's ``at`` when it begins, and swallows the cancellation of its task.
    """

    def __init__(self, execute: Callable[[ItemT], Coroutine[Any, Any, None]]) -> None:
        self._execute = execute
        self._begun: deque[ItemT] = deque()
        self._coming = 0
        self._last: asyncio.Task[Any] | None = None
        self._last_waited = False

    def start(self, item: ItemT) -> None:
        """Run an item as soon as the loop gets to it."""
        self._begun.append(item)
        if self._last_waited or not self._coming:
            self._call_next()

    def _call_next(self) -> None:
        self._coming += 1
        asyncio.get_running_loop().create_task(self._run(), name="rivermill jobs")

    async def _run(self) -> None:
        self._coming -= 1
        begun, execute, more = self._begun, self._execute, True
        if not begun:
            return
        self._last_waited = self._last is not None and not self._last.done()
        self._last = task = asyncio.current_task()
        assert task is not None
        context, until = copy_context(), asyncio.get_running_loop().time() + _TURN_SECONDS
        while begun and more:
            item = begun.popleft()
            if begun and not self._coming:
                # Comes to its turn as soon as this task waits, and before it goes on.
                self._call_next()
            more = self._coming > 0
            item.task = task
            await execute(item)
            if self._last is not task or item.at > until or task.cancelling() or copy_context() != context:
                break
        if begun and not self._coming:
            self._call_next()
