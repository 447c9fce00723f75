"""What ``--check`` calls missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rivermill_operator.simulate.bars import check
from rivermill_operator.simulate.clairvoyant import Reachable
from rivermill_operator.simulate.matrix import Run
from rivermill_operator.simulate.outcome import Outcome, QueueOutcome

RIVAL = {"share": 0.97, "pod_seconds": 1000.0}


def run(name: str = "steady", seed: int = 1, reachable: float = 1.0, rival: dict[str, Any] | None = None, **ours: Any) -> Run:
    def outcome(**figures: Any) -> Outcome:
        return Outcome(**{**dict.fromkeys(Outcome.__slots__, 0), "queues": {}, "share": 1.0, "pod_seconds": 900.0, **figures})

    outcomes = {"rivermill": outcome(**ours), "keda-tuned": outcome(**{**RIVAL, **(rival or {})})}
    return Run(name, seed, 3600.0, Reachable(reachable, {}), outcomes)


@pytest.mark.parametrize(
    ("runs", "missed"),
    [
        ([run()], []),
        ([run(share=0.969)], ["steady, seed 1: 96.900% within the goal, tuned KEDA 97.000%"]),
        ([run(share=0.94, rival={"share": 0.9})], ["steady, seed 1: 94.00% within the goal, at least 95 % can be reached"]),
        ([run(share=0.94, rival={"share": 0.9}, reachable=0.949)], []),
        # Each seed by itself, whatever the others make of the mean.
        ([run(share=0.98), run(seed=2, share=0.96)], ["steady, seed 2: 96.000% within the goal, tuned KEDA 97.000%"]),
        (
            [run(pod_seconds=700.0), run(seed=2, pod_seconds=1210.0)],
            ["steady, seed 2: 1.21 times tuned KEDA's pod-seconds, at most 1.2"],
        ),
        ([run(seed=3, pod_seconds=1210.0, rival={"interrupted": 1}), run("b", pod_seconds=1.0)], []),
        (
            [run(seed=3, pod_seconds=1260.0, rival={"interrupted": 1}), run("b", pod_seconds=1.0)],
            ["steady, seed 3: 1.26 times tuned KEDA's pod-seconds, at most 1.25"],
        ),
        # The geometric mean is over workloads, of their means over seeds.
        ([run(pod_seconds=1000.0)], ["all: 1.000 times tuned KEDA's pod-seconds in the geometric mean, must be below 1"]),
        ([run(pod_seconds=1100.0), run(seed=2, pod_seconds=899.0)], []),
        (
            [run(interrupted=1), run(seed=2), run(seed=3, interrupted=2)],
            ["steady, seed 1: 1 job interrupted", "steady, seed 3: 2 jobs interrupted"],
        ),
        # Of noise nothing else is asked.
        ([run("noise", writes=4, share=0.1, pod_seconds=9e9)], []),
        ([run("noise", writes=3), run("noise", seed=2, writes=5)], ["noise, seed 2: 5.0 replica writes per hour, at most 4"]),
        ([run("noise", interrupted=1)], ["noise, seed 1: 1 job interrupted"]),
    ],
)
def test_bars(runs: list[Run], missed: list[str]) -> None:
    assert check(runs) == missed


def queues(**shares: float) -> dict[str, QueueOutcome]:
    return {name: QueueOutcome(5.0, share, 0.0, 0.0, 0.0) for name, share in shares.items()}


@pytest.mark.parametrize(
    ("ours", "rival", "reachable", "missed"),
    [
        ({"urgent": 0.99, "bulk": 1.0}, {"urgent": 0.98, "bulk": 1.0}, 1.0, []),
        # Few of all jobs, so that the share of all is as good as can be.
        (
            {"urgent": 0.94, "bulk": 1.0},
            {"urgent": 0.96, "bulk": 1.0},
            1.0,
            [
                "steady, seed 1: queue urgent: 94.00% within the goal, at least 95 % can be reached",
                "steady, seed 1: queue urgent: 94.000% within the goal, tuned KEDA 96.000%",
            ],
        ),
        ({"urgent": 0.94, "bulk": 1.0}, {"urgent": 0.9, "bulk": 1.0}, 0.949, []),
        # One queue is all jobs.
        ({"default": 0.5}, {"default": 1.0}, 1.0, []),
    ],
)
def test_each_of_several_queues_is_held_to_its_goal(
    ours: dict[str, float], rival: dict[str, float], reachable: float, missed: list[str]
) -> None:
    one = run(queues=queues(**ours), rival={"queues": queues(**rival)})
    assert check([replace(one, reachable=Reachable(1.0, dict.fromkeys(ours, reachable)))]) == missed
