"""What the demo says in the end, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demo.summary import Summary


@dataclass(frozen=True, slots=True)
class Asked:
    """What the ``JobQueue`` asks for.

    Attributes:
        goals: seconds that 95 % of the jobs should wait at most, by queue.
        max_replicas: the most pods that take jobs.
    """

    goals: Mapping[str, float]
    max_replicas: int


def asked(job_queue: Mapping[str, Any]) -> Asked:
    """Of the object in the example's file."""
    spec = job_queue["spec"]
    goals = {queue["name"]: float(queue["targetWaitSeconds"]) for queue in spec["queues"]}
    return Asked(goals, int(spec["scaling"]["maxReplicas"]))


def ending(summary: Summary, wanted: Asked, *, good: bool) -> Iterator[str]:
    """The lines; ``good`` is whether the run was a success, so that no line claims what another denies."""
    done = (
        f"all {summary.jobs:,} did their work exactly once" if good else f"{summary.completed:,} of {summary.jobs:,} completed"
    )
    directories = summary.jobs - summary.rescans
    yield (
        f"jobs: {done}, in {summary.seconds:g} s ({directories:,} directories, and {summary.rescans:,} rescans that were asked "
        f"for meanwhile); {summary.retried:,} were retried"
    )
    yield f"files: {summary.files:,} are recorded{', as a plain walk of the tree sees them' if good else ''}"
    yield (
        f"pods: at most {summary.peak_pods} at a time, where maxReplicas is {wanted.max_replicas}; "
        f"{summary.pods_killed_busy} were stopped while they ran jobs"
    )
    if summary.write_replicas_seconds is not None and summary.first_pod_seconds is not None:
        yield (
            f"start: after the first job was inserted, replicas were written within {summary.write_replicas_seconds:g} s, "
            f"and the first pod was Ready after {summary.first_pod_seconds:g} s"
        )
    for queue, seconds in summary.wait_p95_seconds.items():
        yield _wait(queue, summary.wait_p50_seconds[queue], seconds, summary, wanted)


def _wait(queue: str, half: float, most: float, summary: Summary, wanted: Asked) -> str:
    line = f"waits in queue {queue}: half of its jobs up to {half:g} s, 95 % up to {most:g} s"
    goal = wanted.goals.get(queue)
    if goal is None:
        return line
    if most <= goal:
        return f"{line}, within the goal of {goal:g} s"
    why = f": maxReplicas {wanted.max_replicas} allowed no more pods" if summary.peak_pods >= wanted.max_replicas else ""
    return f"{line}, above the goal of {goal:g} s{why}"
