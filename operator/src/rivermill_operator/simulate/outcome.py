"""What came out of one simulation, as figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rivermill_operator.simulate.engine import Simulation


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one run.

    Attributes:
        share: of the waits within the goal, 0 to 1; a job's retries wait anew, an interrupted job does not.
        shares: the same by queue.
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
    shares: tuple[float, ...]
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
    within = [
        sum(1 for wait in of_queue if wait <= queue.target_wait_seconds)
        for queue, of_queue in zip(workload.queues, waits, strict=True)
    ]
    everything = sorted(wait for of_queue in waits for wait in of_queue)
    cluster = simulation.cluster
    return Outcome(
        share=sum(within) / len(everything) if everything else 1.0,
        shares=tuple(good / len(all_) if all_ else 1.0 for good, all_ in zip(within, waits, strict=True)),
        p50=percentile(everything, 0.50),
        p95=percentile(everything, 0.95),
        p99=percentile(everything, 0.99),
        pod_seconds=cluster.pod_seconds,
        cost=cluster.pod_seconds / workload.work if workload.work else math.inf,
        peak=cluster.peak,
        interrupted=simulation.interrupted,
        lost_seconds=simulation.lost_seconds,
        writes=len(cluster.writes),
        first_pod=cluster.first_ready - (trace.due[0] if len(trace) else 0.0),
        unstarted=unstarted,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank; 0 for nothing."""
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
