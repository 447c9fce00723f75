"""What a run amounts to, and whether it is a success. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Summary:
    """The figures of one run; ``build/demo.json`` holds exactly these."""

    jobs: int = 0
    rescans: int = 0
    files: int = 0
    completed: int = 0
    retried: int = 0
    discarded: int = 0
    lost: int = 0
    seconds: float = 0.0
    peak_pods: int = 0
    first_pod_seconds: float | None = None
    write_replicas_seconds: float | None = None
    wait_p50_seconds: dict[str, float] = field(default_factory=dict)
    wait_p95_seconds: dict[str, float] = field(default_factory=dict)
    pods_killed_busy: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What else decides about success."""

    executed_twice: int
    fleet: int
    differences: int


def problems(summary: Summary, outcome: Outcome) -> list[str]:
    """Every reason why the run is no success."""
    checks = (
        (summary.jobs == 0, "no job was enqueued"),
        (summary.completed != summary.jobs, f"{summary.jobs - summary.completed} of {summary.jobs} jobs are not completed"),
        (summary.lost != 0, f"{summary.lost} jobs were lost"),
        (summary.pods_killed_busy != 0, f"{summary.pods_killed_busy} pods were killed while they ran jobs"),
        (outcome.executed_twice != 0, f"{outcome.executed_twice} jobs were executed more than once"),
        (outcome.fleet != 0, f"{outcome.fleet} pods are left"),
        (outcome.differences != 0, f"{outcome.differences} files are not recorded as the walk sees them"),
    )
    return [text for wrong, text in checks if wrong]
