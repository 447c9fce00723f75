"""What the scaling decision remembers: values only, so that a decision can be replayed."""

from __future__ import annotations

from dataclasses import dataclass

from rivermill_operator.model.observed import Finished
from rivermill_operator.plan.counted import Counted

Sample = tuple[float, int]


@dataclass(frozen=True, slots=True)
class Burst:
    """Arrivals that a steady stream does not explain.

    Attributes:
        since: when it began.
        base: jobs/s of the stream before it.
        seen: when the test last fired.
    """

    since: float
    base: float
    seen: float


@dataclass(frozen=True, slots=True)
class QueueMemory:
    """Of one queue.

    Attributes:
        name: the queue.
        samples: ``(now, jobs arrived until then)``, oldest first, thinned out towards the past.
        since: when the looks began that ``samples`` are left of; None before the first.
        burst: the burst that goes on.
        finished: the sums last seen.
        jobs: durations that went into the estimate, at most as many as change how it moves.
        job_seconds: mean duration of a job; None until one was measured.
        job_seconds_squared: mean of its square.
        counted: what waited at the last look; None before the first.
    """

    name: str
    samples: tuple[Sample, ...] = ()
    since: float | None = None
    burst: Burst | None = None
    finished: Finished = Finished()
    jobs: int = 0
    job_seconds: float | None = None
    job_seconds_squared: float = 0.0
    counted: Counted | None = None


@dataclass(frozen=True, slots=True)
class Manual:
    """Replicas set by hand, when they were first seen, and whether their time was over at the last look."""

    replicas: int
    since: float
    over: bool = False


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """Of one fleet.

    Attributes:
        queues: of each queue.
        began: when the looks began, or began anew after an outage as long as the window, and the replicas that were there then:
            they count like a recommendation, so that lost history never scales in. None before the first look.
        recommendations: ``(now, replicas)`` of the scale-in window, oldest first: what steady streams and long jobs ask for.
        peaks: the same with what bursts and backlogs ask for; they count for a part of the window only.
        starting: uids of the pods that were starting.
        pod_starts: seconds that the last pods took from creation to Ready, oldest first.
        pod_start_seconds: their moving average; None until a pod started.
        ready_at: when a pod last became Ready.
        manual: replicas set by hand.
        grown: when more pods were last asked for, and how many in all.
        idle: since when nothing has come, waited, run or been due soon, and the jobs that had arrived by then.
    """

    queues: tuple[QueueMemory, ...] = ()
    began: tuple[float, int] | None = None
    recommendations: tuple[tuple[float, int], ...] = ()
    peaks: tuple[tuple[float, int], ...] = ()
    starting: tuple[str, ...] = ()
    pod_starts: tuple[float, ...] = ()
    pod_start_seconds: float | None = None
    ready_at: float | None = None
    manual: Manual | None = None
    grown: tuple[float, int] | None = None
    idle: tuple[float, int] | None = None
