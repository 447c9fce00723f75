"""Who is to look again."""

from __future__ import annotations

import asyncio

Key = tuple[str, str]


class Wakes:
    """One event for each JobQueue whose loop runs."""

    def __init__(self) -> None:
        self._events: dict[Key, asyncio.Event] = {}
        self.closed = False

    def add(self, key: Key) -> asyncio.Event:
        """The event of a loop that starts."""
        return self._events.setdefault(key, asyncio.Event())

    def close(self) -> None:
        """End every loop: this operator leaves."""
        self.closed = True
        for event in self._events.values():
            event.set()

    def remove(self, key: Key) -> None:
        """The loop has ended."""
        self._events.pop(key, None)

    def wake(self, key: Key) -> None:
        """Let a loop look now; unknown keys are nobody's."""
        event = self._events.get(key)
        if event is not None:
            event.set()
