"""Who is to look again."""

from __future__ import annotations

import asyncio
import math

from rivermill_operator.plan.wind_down import BUSY_SECONDS

Key = tuple[str, str]

#: Several changes come together; the first waits for the others for a moment.
DEBOUNCE_SECONDS = 0.05
#: Between two looks, however many jobs, workers and pods have news.
LOOK_SECONDS = 0.25


class Wakes:
    """One event for each JobQueue whose loop runs."""

    def __init__(self) -> None:
        self._events: dict[Key, asyncio.Event] = {}
        self.closed = False

    def add(self, key: Key) -> asyncio.Event:
        """The event of a loop that starts."""
        event = self._events[key] = asyncio.Event()
        return event

    def close(self) -> None:
        """End every loop: this operator leaves."""
        self.closed = True
        for event in self._events.values():
            event.set()

    def remove(self, key: Key, event: asyncio.Event) -> None:
        """The loop of this event has ended; one of its name may have started since."""
        if self._events.get(key) is event:
            del self._events[key]

    def wake(self, key: Key) -> None:
        """Let a loop look now; unknown keys are nobody's."""
        event = self._events.get(key)
        if event is not None:
            event.set()


def until_look(now: float, last: float) -> float:
    """Seconds until a look that somebody asked for: at once, but not sooner after the last than ``LOOK_SECONDS``.

    Args:
        now: monotonic seconds.
        last: when the last look began.
    """
    return max(DEBOUNCE_SECONDS, last + LOOK_SECONDS - now)


def until_tick(now: float, delay: float) -> float:
    """Seconds until a regular look: as ``delay`` says or sooner, on a moment that the loops share.

    All JobQueues of a database are then read in one round of queries.

    Args:
        now: monotonic seconds.
        delay: seconds.
    """
    moment = math.floor((now + delay) / BUSY_SECONDS) * BUSY_SECONDS
    return moment - now if moment > now else delay
