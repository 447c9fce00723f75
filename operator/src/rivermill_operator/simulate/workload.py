"""What is to be worked, by what kind of pods: one reproducible workload."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

NEVER = math.inf
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One queue as a ``JobQueue`` names it; ``max_workers`` is the most slots one pod gives it."""

    name: str
    target_wait_seconds: float
    max_workers: int
    priority: int = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in columns, ordered by ``due``.

    Attributes:
        due: seconds from the start at which each job becomes due.
        seconds: how long it runs.
        queue: its queue, an index into the workload's queues.
        priority: River's 1 (most urgent) to 4.
        known: seconds at which its row was inserted; before ``due`` for a scheduled job.
    """

    due: Sequence[float]
    seconds: Sequence[float]
    queue: Sequence[int]
    priority: Sequence[int]
    known: Sequence[float]

    def __len__(self) -> int:
        return len(self.due)


@dataclass(frozen=True, slots=True)
class PodStart:
    """How long a pod takes from its creation until it claims.

    Attributes:
        low, high: seconds, drawn evenly between.
        together: seconds more for each pod that starts at the same time (a computer with few cores).
        never: share of the pods that never become Ready.
    """

    low: float = 5.0
    high: float = 12.0
    together: float = 0.0
    never: float = 0.0

    def draw(self, rng: random.Random, starting: int) -> float:
        """Seconds until Ready, with ``starting`` pods starting together; infinite for one that never is."""
        seconds = rng.uniform(self.low, self.high) + self.together * starting
        return NEVER if self.never and rng.random() < self.never else seconds


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload and its surroundings.

    Attributes:
        name: as the tables print it.
        queues: what the fleet works, with the wait goals.
        slots: jobs one pod runs at a time.
        trace: the jobs.
        horizon: seconds simulated.
        max_replicas: bound of every scaler.
        pod_start: how pods start.
        failing: spans in which every job that ends fails, and is retried after attempt⁴ seconds.
        blind: spans in which no scaler can read the database; the workers can.
        rollout_at: when a new pod template is set.
        grace_seconds: ``terminationGracePeriodSeconds`` of fleets that are scaled by KEDA or the HPA.
    """

    name: str
    queues: tuple[QueueSettings, ...]
    slots: int
    trace: Trace
    horizon: float
    max_replicas: int = 100
    pod_start: PodStart = PodStart()
    failing: tuple[Span, ...] = ()
    blind: tuple[Span, ...] = ()
    rollout_at: float | None = None
    grace_seconds: float = 30.0

    @property
    def work(self) -> float:
        """Pod-seconds that the jobs need at full slots, each run once."""
        return math.fsum(self.trace.seconds) / self.slots


def inside(spans: Sequence[Span], moment: float) -> bool:
    """Whether a moment lies in one of the spans."""
    return any(start <= moment < end for start, end in spans)


def make_trace(rows: list[tuple[float, float, int, int, float]]) -> Trace:
    """A trace of ``(due, seconds, queue, priority, known)`` in any order."""
    rows.sort(key=lambda row: row[0])
    due, seconds, queue, priority, known = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Trace(due, seconds, queue, priority, known)
