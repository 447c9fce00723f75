"""What a decision says of itself, in one sentence that reads well with one of each and with many."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill_operator.model.status import Bound, Decision
from rivermill_operator.plan.explain import limits, sentence
from rivermill_operator.plan.terms import Load

MOST, LEAST = Bound("MaxReplicas", "maxReplicas 2"), Bound("MinReplicas", "minReplicas 3")
MANUAL = Bound("ManualReplicas", "manualReplicas 9")
BUDGET = Bound("MaxConnections", "maxConnections 6 at 3 a pod")
IN_TIME = "so that the jobs that wait or come soon start before their goal is over"


def said(*, waiting: int = 0, running: int = 0, wanted: int = 0, draining: int = 0, **decision: Any) -> str:
    load = Load("default", 30.0, 10, waiting=waiting, busy=running)
    return sentence(Decision(**{"desired_replicas": 0, **decision}), [load], wanted, draining)


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ({}, "0 pods: nothing to do."),
        ({"desired_replicas": 1}, "1 pod: nothing to do."),
        ({"draining": 1}, "0 pods: nothing to do; 1 pod drains."),
        ({"desired_replicas": 1, "running": 1, "draining": 2}, "1 pod: 0 jobs waiting and 1 running; 2 pods drain."),
        # Pods that nobody needs at this moment are for what comes.
        (
            {"desired_replicas": 1, "won": "steady", "wanted": 1},
            "1 pod: nothing to do now; 1 pod wanted for the arrivals, so that few jobs wait longer than their goal.",
        ),
        (
            {"desired_replicas": 2, "won": "backlog", "waiting": 1, "wanted": 2},
            f"2 pods: 1 job waiting and 0 running; 2 pods wanted {IN_TIME}.",
        ),
        (
            {"desired_replicas": 3, "won": "hold", "waiting": 45, "running": 12, "wanted": 3},
            "3 pods: 45 jobs waiting and 12 running; 3 pods wanted for the jobs that still wait.",
        ),
        (
            {"desired_replicas": 1, "won": "longJobs", "running": 2, "wanted": 1},
            "1 pod: 0 jobs waiting and 2 running; 1 pod wanted so that each long job has a slot.",
        ),
        (
            {"desired_replicas": 1, "won": "idleSlots", "wanted": 1},
            "1 pod: nothing to do now; 1 pod wanted to keep as many slots free as idleSlots says.",
        ),
        ({"desired_replicas": 2, "won": "schedule", "wanted": 2}, "2 pods: nothing to do now; 2 pods wanted for a schedule."),
        # What did not win a pod is not told.
        ({"desired_replicas": 3, "won": "steady", "bounds": (LEAST,)}, "3 pods: nothing to do; raised by minReplicas 3."),
        (
            {"desired_replicas": 2, "won": "schedule", "wanted": 5, "bounds": (MOST,)},
            "2 pods: nothing to do now; 5 pods wanted for a schedule; limited by maxReplicas 2.",
        ),
        (
            {
                "desired_replicas": 2,
                "won": "manual",
                "waiting": 1,
                "wanted": 1,
                "bounds": (MANUAL, MOST),
                "pending": "it returns",
            },
            "2 pods: 1 job waiting and 0 running; set by manualReplicas 9, limited by maxReplicas 2; it returns.",
        ),
        (
            {"desired_replicas": 4, "running": 1, "pending": "scale-in to 1 allowed at 12:00:00 UTC"},
            "4 pods: 0 jobs waiting and 1 running; scale-in to 1 allowed at 12:00:00 UTC.",
        ),
    ],
)
def test_sentences(decision: dict[str, Any], text: str) -> None:
    assert said(**decision) == text


def test_bounds_that_do_the_same_share_their_verb() -> None:
    assert limits([LEAST, MOST, BUDGET]) == "raised by minReplicas 3, limited by maxReplicas 2, maxConnections 6 at 3 a pod"
