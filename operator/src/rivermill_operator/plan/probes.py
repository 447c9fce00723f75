"""What the store shall look up for a decision."""

from __future__ import annotations

import math

from rivermill_operator.model.observed import QueueProbe
from rivermill_operator.model.spec import JobQueueSpec, QueueSpec
from rivermill_operator.plan.estimate import POD_START_SEED_SECONDS
from rivermill_operator.plan.memory import ScalingMemory

#: Of its goal, that a job is taken to last: four times as much asked for pods that went again within seconds.
ASSUMED_SHARE = 0.25
_LEAST_DEPTH = 1_001
_LOOK_SECONDS = 2.0


def probes(spec: JobQueueSpec, memory: ScalingMemory) -> tuple[QueueProbe, ...]:
    """What the store shall look up: no deeper than could change the answer, as far ahead as a pod takes to start."""
    known = {queue.name: queue for queue in memory.queues}
    slots = spec.scaling.max_replicas * spec.worker.slots
    found = []
    for queue in spec.queues:
        seen = known.get(queue.name)
        seconds = (seen.job_seconds if seen else None) or assumed_seconds(queue)
        depth = math.ceil(2 * slots * max(1.0, queue.target_wait_seconds / max(seconds, 1e-3)))
        found.append(QueueProbe(queue.name, min(max(_LEAST_DEPTH, depth), 100_000), _lead(memory)))
    return tuple(found)


def assumed_seconds(queue: QueueSpec) -> float:
    """What a job is taken to last until jobs were measured; if it lasts longer, the age of those that run says so."""
    if queue.expected_job_seconds is not None:
        return queue.expected_job_seconds
    return ASSUMED_SHARE * queue.target_wait_seconds


def _lead(memory: ScalingMemory) -> float:
    """Seconds before work is due at which pods for it must be asked for."""
    starts = sorted(memory.pod_starts) or [POD_START_SEED_SECONDS]
    return starts[min(len(starts) - 1, math.ceil(0.9 * len(starts)) - 1)] + _LOOK_SECONDS
