"""How often a status is written: at once what people look at, the rest now and then, all within a bound."""

from __future__ import annotations

#: Numbers follow so much later at most while nothing else makes a status; and after so long one more may be written at once.
NUMBERS_SECONDS = 15.0
#: A status that says nothing of the fleet or its jobs that the one before did not say follows so much later.
STILL_SECONDS = 60.0
#: Writes at once after a pause. They come back one by one, so that four a minute stay the most in the long run.
BURST = 4
#: Pods that become Ready one after another are told together.
STEP_SECONDS = 2.0


class Pace:
    """The writes that one ``JobQueue`` has left; every ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self._left, self._at = float(BURST), float("-inf")

    def wait(self, now: float, spare: int) -> float:
        """Seconds until a write leaves ``spare`` others for what is more urgent; 0 for now."""
        missing = spare + 1 - self._level(now)
        return max(0.0, missing * NUMBERS_SECONDS, self._at + STEP_SECONDS - now)

    def spend(self, now: float) -> None:
        """A status was written; what could not wait may have taken more than there was."""
        self._left, self._at = max(0.0, self._level(now) - 1.0), now

    def _level(self, now: float) -> float:
        return min(float(BURST), self._left + (now - self._at) / NUMBERS_SECONDS)
