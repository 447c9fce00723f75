"""How many jobs to claim beyond the free slots, so that short jobs do not leave slots empty during a claim. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Jobs that ended are counted over windows of so many jobs: fewer are no flow, and a short burst is not claimed ahead of.
WINDOW_JOBS = 250
#: The least that a window lasts, and the most, however few jobs have ended.
WINDOW_SECONDS = (0.02, 0.1)
#: Short jobs are claimed in batches that last this long: few statements, and each costs less a job.
BATCH_SECONDS = 0.02
#: What is claimed ahead lasts no longer than this.
AHEAD_SECONDS = 0.06
MOST_AHEAD = 2_000


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

    def count(self, now: float, ended: int) -> bool:
        """Note how many jobs have ended so far, and tell whether the flow is seen anew; ``now`` is monotonic seconds."""
        elapsed, count = now - self._since, ended - self._ended
        least, most = WINDOW_SECONDS
        if elapsed < least or (elapsed < most and count < WINDOW_JOBS):
            return False
        self._rate_before, self._rate = self._rate, count / elapsed
        self._since, self._ended = now, ended
        return True

    def claimed(self, seconds: float) -> None:
        """Note how long a claim took."""
        self.claim_seconds += (seconds - self.claim_seconds) * (0.2 if self.claim_seconds else 1.0)


@dataclass(frozen=True, slots=True)
class Stock:
    """How many jobs a queue is to hold.

    Attributes:
        ahead: claimed beyond the slots.
        batch: room that is worth a claim at once, when the last one brought all it asked for.
    """

    ahead: int
    batch: int

    def without_ahead(self) -> Stock:
        """The same with nothing ahead."""
        return Stock(0, self.batch)


def quarter(slots: int) -> int:
    """Slots that are worth a claim where nothing is claimed ahead for them."""
    return (slots + 3) // 4


def stock_for(flow: Flow, slots: int) -> Stock:
    """What to hold so that no slot waits for a claim: jobs for which a slot will be free soon.

    When a claim goes out, what ends during two claims still waits here. Nothing is claimed ahead of jobs that take longer
    than these few hundredths of a second by more than the number of slots.

    Args:
        flow: what has been seen of the queue.
        slots: the most of its jobs that run at once.
    """
    rate = flow.per_second
    ahead = min(MOST_AHEAD, int(rate * min(AHEAD_SECONDS, BATCH_SECONDS + 2 * flow.claim_seconds)))
    if not ahead:
        return Stock(0, max(1, quarter(slots)))
    return Stock(ahead, max(1, ahead // 2, min(ahead, int(rate * BATCH_SECONDS))))
