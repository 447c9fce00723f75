"""Many deadlines with one timer: most jobs end long before theirs, and a timer for each would cost more than they do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_COMPACT_FROM = 4096


class Endable(Protocol):
    """What can end before its deadline."""

    done: bool


ItemT = TypeVar("ItemT", bound=Endable)


class Deadlines(Generic[ItemT]):
    """Calls a function for each item that is not done at its deadline.

    Args:
        expired: what to call, on the event loop.
    """

    def __init__(self, expired: Callable[[ItemT], None]) -> None:
        self._expired = expired
        self._heap: list[tuple[float, int, ItemT]] = []
        self._numbers = itertools.count()
        self._compact_at = _COMPACT_FROM
        self._armed = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, item: ItemT) -> None:
        """Watch an item until the monotonic time ``at``, in seconds."""
        if len(self._heap) >= self._compact_at:
            self._compact()
        heapq.heappush(self._heap, (at, next(self._numbers), item))
        if at < self._armed:
            self._arm(at)

    def close(self) -> None:
        """Watch nothing any more."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if not entry[2].done]
        heapq.heapify(self._heap)
        self._compact_at = max(_COMPACT_FROM, 4 * len(self._heap))

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - time.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer, self._armed = None, float("inf")
        now = time.monotonic()
        while self._heap and (self._heap[0][2].done or self._heap[0][0] <= now):
            item = heapq.heappop(self._heap)[2]
            if not item.done:
                self._expired(item)
        if self._heap:
            self._arm(self._heap[0][0])
