"""When a loop looks again: the same for the operator and the simulator."""

from __future__ import annotations

import math

from rivermill_operator.plan.wind_down import BUSY_SECONDS

#: Several changes come together; the first waits for the others for a moment.
DEBOUNCE_SECONDS = 0.05
#: Between two looks that are asked for, however many jobs, workers and pods have news.
LOOK_SECONDS = 0.25


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
