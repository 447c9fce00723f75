"""How many jobs to claim beyond the free slots, so that short jobs do not leave slots empty during a claim. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Jobs that ended are counted over windows of at least this many seconds.
WINDOW_SECONDS = 0.05


@dataclass(slots=True)
class Flow:
    """How fast a queue's jobs end in this process, and how long a claim of it takes."""

    claim_seconds: float = 0.0
    _since: float = 0.0
    _ended: int = 0
    _rate: float = 0.0
    _rate_before: float = 0.0

    @property
    def per_second(self) -> float:
        """Jobs that end in a second; the lesser of two windows, so that a burst does not look like a flow."""
        return min(self._rate, self._rate_before)

    def count(self, now: float, ended: int) -> None:
        """Note how many jobs have ended so far; ``now`` is monotonic seconds."""
        elapsed = now - self._since
        if elapsed >= WINDOW_SECONDS:
            self._rate_before, self._rate = self._rate, (ended - self._ended) / elapsed
            self._since, self._ended = now, ended

    def claimed(self, seconds: float) -> None:
        """Note how long a claim took."""
        self.claim_seconds += (seconds - self.claim_seconds) * (0.2 if self.claim_seconds else 1.0)


def jobs_ahead(flow: Flow, max_workers: int, cooldown: float) -> int:
    """Jobs for which a slot will be free before the next claim can bring any.

    That is what ends during a claim and the pause before it, which is no longer than the cooldown nor than half of the
    slots take to become free. Zero for jobs that take longer than a claim does by more than the number of slots.

    Args:
        flow: what has been seen of the queue.
        max_workers: the queue's slots, and the most that is ever claimed ahead.
        cooldown: seconds between two claims.
    """
    rate = flow.per_second
    return min(max_workers, int(rate * flow.claim_seconds + min(rate * cooldown, max_workers / 2)))
