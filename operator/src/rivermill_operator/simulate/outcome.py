"""What came out of one simulation, as figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.workload import QueueSettings


@dataclass(frozen=True, slots=True)
class QueueOutcome:
    """Figures of one queue of a run.

    Attributes:
        goal: its ``targetWaitSeconds``.
        share: of the waits within it, 0 to 1.
        p50, p95, p99: wait in seconds.
    """

    goal: float
    share: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one run.

    Attributes:
        share: of the waits within the goal, 0 to 1; a job's retries wait anew, an interrupted job does not.
        queues: the same and the waits of each queue, by its name.
        p50, p95, p99: wait in seconds.
        pod_seconds: from creation until gone, over all pods.
        cost: pod-seconds ÷ those that the jobs need at full slots.
        peak: most pods at a time.
        interrupted: jobs that were killed; ``lost_seconds`` of work with them.
        writes: of replicas.
        first_pod: seconds from the first due job until a pod was Ready.
        unstarted: jobs that still wait at the horizon.
    """

    share: float
    queues: Mapping[str, QueueOutcome]
    p50: float
    p95: float
    p99: float
    pod_seconds: float
    cost: float
    peak: int
    interrupted: int
    lost_seconds: float
    writes: int
    first_pod: float
    unstarted: int


def measure(simulation: Simulation) -> Outcome:
    """Figures of a simulation that has run. Jobs that still wait count once their wait is beyond the goal."""
    workload, trace = simulation.workload, simulation.workload.trace
    waits = [list(of_queue) for of_queue in simulation.waits]
    unstarted = 0
    for job in simulation.board.jobs():
        queue = trace.queue[job]
        waited = workload.horizon - simulation.board.due[job]
        unstarted += 1
        if waited > workload.queues[queue].target_wait_seconds:
            waits[queue].append(waited)
    everything = [wait for of_queue in waits for wait in of_queue]
    within = sum(_within(of_queue, queue) for queue, of_queue in zip(workload.queues, waits, strict=True))
    p50, p95, p99 = _percentiles(everything)
    cluster = simulation.cluster
    return Outcome(
        share=within / len(everything) if everything else 1.0,
        queues={queue.name: _of_queue(queue, of_queue) for queue, of_queue in zip(workload.queues, waits, strict=True)},
        p50=p50,
        p95=p95,
        p99=p99,
        pod_seconds=cluster.pod_seconds,
        cost=cluster.pod_seconds / workload.work if workload.work else math.inf,
        peak=cluster.peak,
        interrupted=simulation.interrupted,
        lost_seconds=simulation.lost_seconds,
        writes=len(cluster.writes),
        first_pod=cluster.first_ready - (trace.due[0] if len(trace) else 0.0),
        unstarted=unstarted,
    )


def _of_queue(queue: QueueSettings, waits: Sequence[float]) -> QueueOutcome:
    share = _within(waits, queue) / len(waits) if waits else 1.0
    return QueueOutcome(queue.target_wait_seconds, share, *_percentiles(waits))


def _within(waits: Sequence[float], queue: QueueSettings) -> int:
    return sum(1 for wait in waits if wait <= queue.target_wait_seconds)


def _percentiles(waits: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(waits)
    return (percentile(ordered, 0.50), percentile(ordered, 0.95), percentile(ordered, 0.99)) if ordered else (0.0, 0.0, 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that so large a share of them, above 0 and up to 1, does not exceed (nearest rank).

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("percentile: of no value there is none")
    # A product such as 0.07 * 100 lies a little above the whole number that it stands for.
    return sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
