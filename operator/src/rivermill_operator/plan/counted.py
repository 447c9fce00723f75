"""How many jobs wait where the database was too slow, or they are too many, to count them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rivermill_operator.model.observed import QueueDepth


@dataclass(frozen=True, slots=True)
class Counted:
    """A queue at one look.

    Attributes:
        waiting: jobs that waited.
        arrived: as ``QueueDepth.arrived``.
        finished: durations seen, as ``QueueDepth.finished.jobs``.
        running: jobs that ran.
    """

    waiting: int
    arrived: int
    finished: int
    running: int


def count(known: Counted | None, depth: QueueDepth, samples: Sequence[tuple[float, int]], now: float) -> Counted:
    """What waits now: what was counted, and where that is a lower bound, what came and did not start since it was last known.

    Jobs that ended in another way than by completing, or were deleted, are not missed: of two mistakes, this one makes no job
    wait. It ends when all can be counted again; and no more can wait than came since the oldest became due.

    Args:
        known: what this returned for the last look that was complete; None before the first.
        depth: the observation.
        samples: ``(now, jobs arrived until then)``, oldest first.
        now: monotonic seconds.
    """
    waiting, ended = depth.waiting, depth.finished.jobs
    # Sums that went back are of a store that was opened anew.
    if depth.bounded and known is not None and depth.arrived >= known.arrived and ended >= known.finished:
        started = ended - known.finished + depth.running - known.running
        carried = known.waiting + depth.arrived - known.arrived - started
        waiting = max(waiting, _since_the_oldest(carried, depth, samples, now))
    return Counted(waiting, depth.arrived, ended, depth.running)


def _since_the_oldest(carried: int, depth: QueueDepth, samples: Sequence[tuple[float, int]], now: float) -> int:
    """``carried``, but no more than what has come since the look before the oldest that waits became due."""
    if depth.oldest_seconds is None:
        return carried
    since = now - depth.oldest_seconds
    before = next((arrived for time, arrived in reversed(samples) if time <= since), None)
    return carried if before is None else min(carried, depth.arrived - before)
