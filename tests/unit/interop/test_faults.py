"""What the mixed fleet's test takes for a fault, and what it lets pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.interop.mixed.runs import Run, faults

Began = list[tuple[str, int]]
"""Client and attempt of each run."""


def row(sort: str, state: str, attempt: int, *clients: str, snoozes: int = 0) -> dict[str, Any]:
    metadata = json.dumps({"snoozes": snoozes} if snoozes else {})
    return {"id": 1, "state": state, "attempt": attempt, "attempted_by": list(clients), "tags": [sort], "metadata": metadata}


def found(job: dict[str, Any], began: Began, killed: set[str] | None = None) -> list[str]:
    runs = {1: [Run(1, attempt, client, n, n + 1) for n, (client, attempt) in enumerate(began)]}
    return faults([job], runs, killed or set())


@pytest.mark.parametrize(
    ("job", "began", "killed"),
    [
        (row("plain", "completed", 1, "go_1"), [("go_1", 1)], set()),
        (row("plain", "completed", 1, "python_0", "go_1"), [("go_1", 1)], set()),
        (row("plain", "completed", 2, "go_1", "python_0"), [("python_0", 2)], {"go_1"}),
        (row("snoozed", "completed", 1, "go_1", "go_1", snoozes=1), [("go_1", 1), ("go_1", 1)], set()),
        (row("cancelled_waiting", "cancelled", 0), [], set()),
        (row("cancelled_running", "cancelled", 1, "go_1"), [("go_1", 1)], set()),
        (row("cancelled_running", "cancelled", 1, "python_0"), [], set()),
        (row("cancelled_running", "cancelled", 1, "go_1", "python_0"), [], {"go_1"}),
        (row("cancelled_running", "cancelled", 2, "go_1", "python_0"), [("go_1", 1)], set()),
        (row("cancelled_running", "cancelled", 2, "python_0", "python_0"), [("python_0", 1)], set()),
        (row("cancelled_running", "cancelled", 1, "python_0", "python_2"), [], set()),
    ],
    ids=[
        "once", "given back", "rescued", "snoozed", "never claimed", "cancelled in its run", "cancelled before it began",
        "rescued and cancelled before it began", "failed and cancelled before it began", "twice in one client",
        "given back and cancelled before it began",
    ],
)  # fmt: skip
def test_what_may_happen_is_no_fault(job: dict[str, Any], began: Began, killed: set[str]) -> None:
    assert found(job, began, killed) == []


@pytest.mark.parametrize(
    ("job", "began"),
    [
        (row("plain", "completed", 1, "python_0"), []),
        (row("plain", "completed", 1, "go_1"), [("go_1", 1), ("go_1", 1)]),
        (row("plain", "completed", 1, "go_1"), [("python_0", 1)]),
        (row("cancels_itself", "cancelled", 1, "python_0"), []),
        (row("cancelled_running", "cancelled", 1, "go_1"), []),
        (row("cancelled_running", "cancelled", 1, "python_0", "go_1"), []),
        (row("cancelled_running", "cancelled", 2, "python_0", "python_0"), [("python_0", 2)]),
        (row("cancelled_running", "cancelled", 2, "python_0", "python_2"), []),
    ],
    ids=[
        "never begun", "begun twice", "begun elsewhere", "cancels itself and never begun", "not begun by River for Go",
        "not begun by River for Go, given back by ours", "first attempt not begun", "two attempts not begun",
    ],
)  # fmt: skip
def test_claims_that_came_to_other_runs_are_a_fault(job: dict[str, Any], began: Began) -> None:
    (fault,) = found(job, began)
    assert fault.startswith(f"job 1 ({job['tags'][0]}): claimed by ")


def test_other_states_and_numbers_of_attempts_are_faults() -> None:
    (fault,) = found(row("cancelled_running", "completed", 1, "go_1"), [("go_1", 1)])
    assert fault == "job 1 (cancelled_running): completed instead of cancelled"
    (fault,) = found(row("plain", "completed", 2, "go_1", "go_1"), [("go_1", 1), ("go_1", 2)])
    assert fault == "job 1 (plain): 2 attempts instead of 1"
