"""How many jobs wait where the database was too slow, or they are too many, to count them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rivermill_operator.model.observed import QueueDepth

#: So many due soon may be more: a slow store counts them no deeper than so, and they are taken for as many as it ever counts.
_MANY, _MOST = 1_001, 100_000
#: A job may be ``available`` for so long before it is due: the leader's scheduler moves it there so early, and one that is
#: inserted for so soon has come. In between nobody counts it.
_AHEAD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Counted:
    """A queue at one look.

    Attributes:
        waiting: jobs that waited.
        arrived: as ``QueueDepth.arrived``.
        finished: durations seen, as ``QueueDepth.finished.jobs``.
        running: jobs that ran.
        soon: ``(now, jobs that were due soon at the looks before, added up)``, oldest first, at the times of the samples.
        due_soon: jobs that were due soon at this look.
    """

    waiting: int
    arrived: int
    finished: int
    running: int
    soon: tuple[tuple[float, int], ...] = ()
    due_soon: int = 0


def count(known: Counted | None, depth: QueueDepth, samples: Sequence[tuple[float, int]], now: float) -> Counted:
    """What waits now: what was counted, and where that is a lower bound, what came and did not start since it was last known.

    Jobs that ended in another way than by completing, or were deleted, are not missed: of two mistakes, this one makes no job
    wait. It ends when all can be counted again; and no more can wait than came, or became due, since just
    before the oldest became due.

    Args:
        known: what this returned for the last look that was complete; None before the first.
        depth: the observation.
        samples: ``(now, jobs arrived until then)``, oldest first.
        now: monotonic seconds.
    """
    waiting, ended, soon = depth.waiting, depth.finished.jobs, _soon(known, samples, now)
    # Sums that went back are of a store that was opened anew.
    if depth.bounded and known is not None and depth.arrived >= known.arrived and ended >= known.finished:
        started = ended - known.finished + depth.running - known.running
        carried = known.waiting + depth.arrived - known.arrived - started
        waiting = max(waiting, _since_the_oldest(carried, depth, samples, soon, now))
    due_soon = depth.due_soon if depth.due_soon < _MANY else _MOST
    return Counted(waiting, depth.arrived, ended, depth.running, soon, due_soon)


def _soon(known: Counted | None, samples: Sequence[tuple[float, int]], now: float) -> tuple[tuple[float, int], ...]:
    """The sums so far and that of this look, where a sample is left."""
    if known is None:
        return ((now, 0),)
    times = {time for time, _ in samples}
    before = known.soon[-1][1] if known.soon else 0
    return (*(item for item in known.soon if item[0] in times and item[0] < now), (now, before + known.due_soon))


def _since_the_oldest(
    carried: int, depth: QueueDepth, samples: Sequence[tuple[float, int]], soon: Sequence[tuple[float, int]], now: float
) -> int:
    """``carried``, but no more than what has come since the look before the oldest that waits was made ``available``.

    Jobs for later, snoozed ones and retries are no arrivals: what became due since then was due soon at a look in between.
    """
    if depth.oldest_seconds is None:
        return carried
    since = now - depth.oldest_seconds - _AHEAD_SECONDS
    sums = dict(soon)
    before = next(((time, arrived) for time, arrived in reversed(samples) if time <= since and time in sums), None)
    if before is None:
        return carried
    return min(carried, depth.arrived - before[1] + sums[now] - sums[before[0]])
