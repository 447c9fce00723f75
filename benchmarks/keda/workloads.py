"""When how many jobs come, and how long each takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """Jobs of one kind.

    Attributes:
        name: as it is printed.
        job_seconds: what each takes.
        arrivals: (seconds from the beginning, jobs).
    """

    name: str
    job_seconds: float
    arrivals: tuple[tuple[float, int], ...]

    @property
    def jobs(self) -> int:
        """All of them."""
        return sum(jobs for _, jobs in self.arrivals)

    @property
    def pure_pod_seconds(self) -> float:
        """What the jobs take of pods that are full all the time."""
        return self.jobs * self.job_seconds / SLOTS


#: Of each pod.
SLOTS = 10
MOST_PODS = 20
#: Seconds that a job may wait, as the JobQueue says; KEDA knows no such goal.
GOAL = 30.0

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("dump", 1.0, ((0.0, 2_000),)),
        Workload("onoff", 1.0, tuple((240.0 * burst + second, 30) for burst in range(3) for second in range(60))),
        Workload("long", 60.0, (*((20.0 * n, 20) for n in range(6)), *((300.0 + 20.0 * n, 10) for n in range(3)))),
    )
}
