"""When what could not be written is tried again: each write has a pause of its own, and the looks go on meanwhile."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

#: The longest pause, seconds, after what trying again does not help, or nobody foresaw.
MAX_BACKOFF = 30.0
#: The longest pause while the API server or the network may be back at any moment.
AWAY_BACKOFF = 4.0


@dataclass(frozen=True, slots=True)
class Problem:
    """A write that went wrong.

    Attributes:
        text: begins with what was to be done.
        refused: trying again does not help.
        kept: it was not tried again, for its pause is not over.
    """

    text: str
    refused: bool
    kept: bool = False


def back_off(failures: int, longest: float = MAX_BACKOFF) -> float:
    """Seconds until the next try after so many failures, from 1: about 1, 2, 4, … up to the longest pause."""
    return min(longest, 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class _Failed:
    problem: Problem
    times: int
    until: float


class Retries:
    """The writes of one ``JobQueue`` that went wrong, by what was to be done.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, _Failed] = {}
        self._generation: int | None = None

    def begin(self, generation: int) -> None:
        """Begin a look at this generation of the spec: another one may be what was waited for."""
        if generation != self._generation:
            self._generation = generation
            self._failed.clear()
        # What nobody has asked for since.
        forgotten = self._clock() - MAX_BACKOFF
        self._failed = {what: failed for what, failed in self._failed.items() if failed.until > forgotten}

    def kept(self, *writes: str) -> list[Problem]:
        """What went wrong with those of these writes that are not to be tried yet."""
        now = self._clock()
        found = [self._failed[what] for what in writes if what in self._failed]
        return [replace(failed.problem, kept=True) for failed in found if failed.until > now]

    def note(self, what: str, problem: Problem | None) -> None:
        """Note how a write went; None for well."""
        failed = self._failed.pop(what, None)
        if problem is not None:
            times = failed.times + 1 if failed else 1
            pause = back_off(times, MAX_BACKOFF if problem.refused else AWAY_BACKOFF)
            self._failed[what] = _Failed(problem, times, self._clock() + pause)

    def wait(self) -> float:
        """Seconds until the first of them may be tried again; infinite if there is none, not below 0."""
        now = self._clock()
        return min((failed.until - now for failed in self._failed.values() if failed.until > now), default=math.inf)
