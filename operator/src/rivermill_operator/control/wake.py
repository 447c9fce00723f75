"""Who is to look again."""

from __future__ import annotations

import asyncio
import math

from rivermill_operator.plan.wind_down import BUSY_SECONDS

Key = tuple[str, str]

#: Several changes come together; the first waits for the others for a moment.
DEBOUNCE_SECONDS = 0.05
#: Between two looks that are asked for, however many jobs, workers and pods have news.
LOOK_SECONDS = 0.25
#: Of all loops in a second, where ``LOOK_SECONDS`` would allow more. A look takes one or two milliseconds.
MOST_LOOKS = 133


class Wakes:
    """One event for each JobQueue whose loop runs."""

    def __init__(self) -> None:
        self._events: dict[Key, asyncio.Event] = {}
        self.closed = False

    @property
    def interval(self) -> float:
        """Seconds between two looks of a loop that is asked to look all the time."""
        return max(LOOK_SECONDS, len(self._events) / MOST_LOOKS)

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


def until_look(now: float, asked: float, interval: float) -> float:
    """Seconds until a look that somebody asked for: at once, but not sooner than ``interval`` after the last such look.

    Args:
        now: monotonic seconds.
        asked: when the last look began that was asked for; regular ones leave the next news at once.
        interval: seconds.
    """
    return max(DEBOUNCE_SECONDS, asked + interval - now)


def until_tick(now: float, delay: float) -> float:
    """Seconds until a regular look: as ``delay`` says or sooner, on a moment that the loops share.

    All JobQueues of a database are then read in one round of queries.

    Args:
        now: monotonic seconds.
        delay: seconds.
    """
    moment = math.floor((now + delay) / BUSY_SECONDS) * BUSY_SECONDS
    return moment - now if moment > now else delay
