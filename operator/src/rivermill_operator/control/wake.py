"""Who is to look again."""

from __future__ import annotations

import asyncio

from rivermill_operator.model import names
from rivermill_operator.plan.looks import LOOK_SECONDS

Key = tuple[str, str]

#: Of all loops in a second, where ``LOOK_SECONDS`` would allow more. A look takes one or two milliseconds.
MOST_LOOKS = 133


class Wakes:
    """One event for each JobQueue whose loop runs; a key has its name, or what the labels of its objects call it."""

    def __init__(self) -> None:
        self._events: dict[Key, asyncio.Event] = {}
        self.closed = False

    @property
    def interval(self) -> float:
        """Seconds between two looks of a loop that is asked to look all the time."""
        return max(LOOK_SECONDS, len(self._events) / MOST_LOOKS)

    def add(self, key: Key) -> asyncio.Event:
        """The event of a loop that starts."""
        event = self._events[_label(key)] = asyncio.Event()
        return event

    def close(self) -> None:
        """End every loop: this operator leaves."""
        self.closed = True
        for event in self._events.values():
            event.set()

    def remove(self, key: Key, event: asyncio.Event) -> bool:
        """The loop of this event has ended; False where one of its name has started since."""
        last = self._events.get(_label(key)) is event
        if last:
            del self._events[_label(key)]
        return last

    def wake(self, key: Key) -> None:
        """Let a loop look now; unknown keys are nobody's."""
        event = self._events.get(_label(key))
        if event is not None:
            event.set()


def _label(key: Key) -> Key:
    """As the caches know it, whose objects have no more than a label."""
    return key[0], names.label_value(key[1])
