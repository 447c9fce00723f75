"""What the fleet is given to do, and what must become of it."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.interop.scenarios.support import job

ANY = None


@dataclass(frozen=True, slots=True)
class Case:
    """One sort of job, which its rows carry as their tag.

    Attributes:
        share: of a hundred jobs.
        state: the one it ends in.
        attempts: how many it takes, snoozed ones among them, unless a client that had it is killed.
        behavior: what its worker does.
        duration_ms: how long that takes.
        delay: seconds from its insertion to when it is due.
        opts: how it is inserted.
    """

    share: int
    state: str
    attempts: int | None
    behavior: str = "sleep"
    duration_ms: int = 0
    delay: float = 0.0
    opts: dict[str, Any] = field(default_factory=dict)

    def make(self, name: str, message: str) -> dict[str, Any]:
        """A job to insert."""
        opts = self.opts | {"tags": [name]}
        if self.delay:
            opts["scheduled_at"] = (datetime.now(UTC) + timedelta(seconds=self.delay)).isoformat()
        return job(self.behavior, message, self.duration_ms, **opts)


CANCELLED_RUNNING = "cancelled_running"
TO_CANCEL = "cancelled_waiting"
UNIQUE = "unique"
CASES = {
    "plain": Case(48, "completed", 1, duration_ms=100),
    "scheduled": Case(5, "completed", 1, duration_ms=50, delay=3.0),
    "retried": Case(10, "completed", 2, "error_once"),
    "discarded": Case(5, "discarded", 2, "error", opts={"max_attempts": 2}),
    "snoozed": Case(8, "completed", 2, "snooze_once", 300),
    "snoozed_long": Case(4, "completed", 2, "snooze_once", 6_000),
    "cancels_itself": Case(5, "cancelled", 1, "cancel"),
    CANCELLED_RUNNING: Case(5, "cancelled", ANY, "cooperative_cancel"),
    TO_CANCEL: Case(5, "cancelled", 0, delay=3_600.0),
    UNIQUE: Case(5, "completed", 1, duration_ms=50, opts={"unique": {"by_args": True}}),
    "tick": Case(0, "completed", 1),
}
_PATTERN = [name for name, case in CASES.items() for _ in range(case.share)]


class Workload:
    """Jobs in the order in which they are inserted, every sort in each hundred."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        # 61 and 100 have no common divisor: every sort has its share, and neighbours differ.
        self._sorts = itertools.cycle(_PATTERN[n * 61 % 100] for n in range(100))

    def take(self, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """So many more jobs: those that are inserted once, and the unique ones, which everybody tries to insert."""
        once, unique = [], []
        for _ in range(count):
            name = next(self._sorts)
            made = CASES[name].make(name, f"job {next(self._numbers)}")
            (unique if name == UNIQUE else once).append(made)
        return once, unique


def case_of(row: dict[str, Any]) -> str:
    """The sort of a row; what has no tag was inserted by a leader."""
    return row["tags"][0] if row["tags"] else "tick"


def period_of(row: dict[str, Any], every_ms: int) -> int:
    """The number of the period in which a periodic job was due."""
    at: datetime = row["scheduled_at"]
    return int(at.timestamp() * 1000) // every_ms


def metadata_of(row: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(row["metadata"]))
