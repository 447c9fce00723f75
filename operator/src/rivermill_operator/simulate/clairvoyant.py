"""What could be reached: the share of a scaler that knew every arrival beforehand and so had all pods ready in time."""

from __future__ import annotations

import heapq

from rivermill_operator.simulate.workload import Workload


def reachable_share(workload: Workload) -> float:
    """Share of jobs that start within their goal when all ``max_replicas`` pods are ready from the start.

    Slots take the waiting job whose goal is the nearest. First runs only: a failed job's later runs are not counted.
    """
    trace, goals = workload.trace, [queue.target_wait_seconds for queue in workload.queues]
    free_at = [0.0] * (workload.max_replicas * workload.slots)
    line: list[tuple[float, int]] = []
    index, within, total = 0, 0, len(trace)
    while index < total or line:
        now = free_at[0] if line else max(free_at[0], trace.due[index])
        while index < total and trace.due[index] <= now:
            heapq.heappush(line, (trace.due[index] + goals[trace.queue[index]], index))
            index += 1
        deadline, job = heapq.heappop(line)
        start = max(now, trace.due[job])
        within += start <= deadline
        heapq.heapreplace(free_at, start + trace.seconds[job])
    return within / total if total else 1.0
