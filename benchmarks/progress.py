"""Says how far a benchmark is, and how long the rest may take."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence


class Progress:
    """Follows turns as they are taken; one of the same kind is taken to need as long as the last.

    Args:
        turns: the kind of each, in their order.
        clock: seconds that only rise.
    """

    def __init__(self, turns: Sequence[Hashable], clock: Callable[[], float] = time.monotonic) -> None:
        self._left = deque(turns)
        self._total = len(turns)
        self._clock = clock
        self._began = self._turn_began = clock()
        self._turn: Hashable = None
        self._took: dict[Hashable, float] = {}

    def next(self) -> str:
        """The turn before, if any, has ended, and the next one begins: which one of how many that is, and the times."""
        now = self._clock()
        if self._turn is not None:
            self._took[self._turn] = now - self._turn_began
        number = self._total - len(self._left) + 1
        rest = f", about {self.seconds_left() / 60:.0f} min to go" if self._took else ""
        self._turn, self._turn_began = self._left.popleft(), now
        return f"[{number}/{self._total}] {(now - self._began) / 60:.0f} min{rest}"

    def seconds_left(self) -> float:
        """How long the turns that have not begun may take; those of a kind that has not had its turn count as the mean."""
        mean = statistics.fmean(self._took.values()) if self._took else 0.0
        times: defaultdict[Hashable, float] = defaultdict(lambda: mean, self._took)
        return sum(times[turn] for turn in self._left)
