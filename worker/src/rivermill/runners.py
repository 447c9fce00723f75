"""The tasks that attempts run in: one for each that ever waits, and one for any number of those that never do.

Making a task and having the loop begin it costs several times what a short attempt does. One that ends without having waited
for anything has left nothing behind that the next could see, if the context variables are as they were. Where attempts do
wait, each has a task from the beginning: the next one's is otherwise begun a whole turn of the loop after its own. And one
that takes the slot of another begins within that one's last step, from Python 3.12 on: else all that end in the same turn of
the loop end before the first successor begins.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import copy_context
from typing import Any, Generic, Protocol, TypeVar

_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
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
        execute: the function, given the items of a task one after the other; it sets an item's ``at`` when it begins, and
            swallows the cancellation of its task.
    """

    def __init__(self, execute: Callable[[Iterator[ItemT]], Coroutine[Any, Any, None]]) -> None:
        self._execute = execute
        self._begun: deque[ItemT] = deque()
        self._coming = 0
        self._last: asyncio.Task[Any] | None = None
        self._last_waited = False
        # Where an attempt ends that has waited, the current one is as it has left it.
        self._context = copy_context()
        self._succeeding = False

    def start(self, items: Sequence[ItemT]) -> None:
        """Run items as soon as the loop gets to them."""
        self._begun += items
        tasks = len(items) if self._last_waited else int(bool(items) and not self._coming)
        for _ in range(tasks):
            self._call_next()

    def succeed(self, item: ItemT) -> None:
        """Run an item whose predecessor is about to end, if possible before this returns."""
        if not self._last_waited or self._succeeding:
            self.start([item])
            return
        self._begun.append(item)
        self._succeeding = True  # within one step one successor, for each is a few stack frames
        self._call_next(**_AT_ONCE)
        self._succeeding = False

    def _call_next(self, **options: Any) -> None:
        self._coming += 1
        loop, context = asyncio.get_running_loop(), self._context.copy()
        asyncio.Task(self._run(), loop=loop, name="rivermill jobs", context=context, **options)

    async def _run(self) -> None:
        self._coming -= 1
        if not self._begun:
            return
        self._last_waited = self._last is not None and not self._last.done()
        self._last = task = asyncio.current_task()
        assert task is not None
        await self._execute(self._turn(task))
        if self._begun and not self._coming:
            self._call_next()

    def _turn(self, task: asyncio.Task[None]) -> Iterator[ItemT]:
        """The items of one task: until one has waited, or the loop is to look at everything else."""
        context, until = copy_context(), asyncio.get_running_loop().time() + _TURN_SECONDS
        begun, more = self._begun, True
        while begun and more:
            item = begun.popleft()
            if begun and not self._coming:
                # Comes to its turn as soon as this task waits, and before it goes on.
                self._call_next()
            more = self._coming > 0
            item.task = task
            yield item
            if self._last is not task or item.at > until or task.cancelling() or copy_context() != context:
                return
