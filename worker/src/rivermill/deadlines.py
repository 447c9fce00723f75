"""Many deadlines with one timer: most jobs end long before theirs, so for those nothing is done but a comparison."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

_NEVER = float("inf")
#: Time between two looks at all items, so that many different deadlines do not make it many looks.
_LEAST_SECONDS = 0.001


class Endable(Protocol):
    """What may have a deadline: monotonic seconds, infinity for none."""

    deadline: float


ItemT = TypeVar("ItemT", bound=Endable)


class Deadlines(Generic[ItemT]):
    """Calls a function for each item that is still there at its deadline.

    Args:
        items: those that have not ended; asked for whenever the earliest deadline seen has come.
        expired: what to call, on the event loop.

    Attributes:
        earliest: when the timer fires; a later deadline needs no ``watch``.
    """

    def __init__(self, items: Callable[[], Iterable[ItemT]], expired: Callable[[ItemT], None]) -> None:
        self._items = items
        self._expired = expired
        self.earliest = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """An item has a deadline now."""
        if deadline < self.earliest:
            self._arm(deadline)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.earliest = at
        self._timer = asyncio.get_running_loop().call_later(max(_LEAST_SECONDS, at - time.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer, self.earliest = None, _NEVER
        now = time.monotonic()
        watched = [item for item in self._items() if item.deadline < _NEVER]
        for item in sorted((item for item in watched if item.deadline <= now), key=lambda item: item.deadline):
            item.deadline = _NEVER
            self._expired(item)
        earliest = min((item.deadline for item in watched), default=_NEVER)
        if earliest < self.earliest:
            self._arm(earliest)
