"""What could be reached: the shares of a scaler that knew every arrival beforehand and so had all pods ready in time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rivermill_operator.simulate.workload import Workload


@dataclass(frozen=True, slots=True)
class Reachable:
    """Shares of jobs that start within their goal, 0 to 1: of all jobs, and of each queue's by its name."""

    share: float
    queues: Mapping[str, float]


def reachable(workload: Workload) -> Reachable:
    """What is within the goal when all ``max_replicas`` pods are ready from the start.

    Slots take the waiting job whose goal is the nearest. First runs only: a failed job's later runs are not counted.
    """
    trace, goals = workload.trace, [queue.target_wait_seconds for queue in workload.queues]
    index, total = 0, len(trace)
    free_at = [0.0] * min(workload.max_replicas * workload.slots, total)
    line: list[tuple[float, int]] = []
    within: Counter[int] = Counter()
    while index < total or line:
        now = free_at[0] if line else max(free_at[0], trace.due[index])
        while index < total and trace.due[index] <= now:
            heapq.heappush(line, (trace.due[index] + goals[trace.queue[index]], index))
            index += 1
        deadline, job = heapq.heappop(line)
        start = max(now, trace.due[job])
        within[trace.queue[job]] += start <= deadline
        heapq.heapreplace(free_at, start + trace.seconds[job])
    jobs = Counter(trace.queue)
    by_queue = {
        queue.name: within[number] / jobs[number] if jobs[number] else 1.0 for number, queue in enumerate(workload.queues)
    }
    return Reachable(within.total() / total if total else 1.0, by_queue)
