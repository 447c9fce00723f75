"""Who is to look again."""

from __future__ import annotations

import asyncio
import math

from rivermill_operator.plan.wind_down import BUSY_SECONDS

Key = tuple[str, str]

#: Several changes come together; the first waits for the others for a moment.
DEBOUNCE_SECONDS = 0.05
#: Whoever was looked at a moment ago waits for the next moment of this grid.
LOOK_SECONDS = 0.5


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


def until_look(now: float, last: float, *, again: bool) -> float:
    """Seconds until a look that somebody asked for: at once after a rest, else on a moment that the loops share.

    A queue that gets jobs all the time is looked at as often as any busy one, however many jobs, workers and pods have news.

    Args:
        now: monotonic seconds.
        last: when the last look began.
        again: the last look was asked for, too.
    """
    grid = BUSY_SECONDS if again else LOOK_SECONDS
    if now - last >= grid:
        return DEBOUNCE_SECONDS
    return max(DEBOUNCE_SECONDS, (math.floor(now / grid) + 1) * grid - now)


def until_tick(now: float, delay: float) -> float:
    """Seconds until a regular look: as ``delay`` says or sooner, on a moment that the loops share.

    All JobQueues of a database are then read in one round of queries.

    Args:
        now: monotonic seconds.
        delay: seconds.
    """
    moment = math.floor((now + delay) / BUSY_SECONDS) * BUSY_SECONDS
    return moment - now if moment > now else delay
