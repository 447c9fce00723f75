"""What holds of every simulation: the same again, every job once, no pod over its slots."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rivermill_operator.simulate.catalog import NAMES, workload
from rivermill_operator.simulate.clairvoyant import reachable
from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.keda import TUNED, Keda
from rivermill_operator.simulate.outcome import measure, percentile
from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace


def small(**changes: object) -> Workload:
    rows = [(float(n), 20.0 + n % 90, n % 2, 1 + n % 4, float(n)) for n in range(200)]
    queues = (QueueSettings("a", 30, 3, 5), QueueSettings("b", 60, 3, 1))
    return replace(Workload("small", queues, 4, make_trace(rows), 5000.0, 20), **changes)  # type: ignore[arg-type]


def run(job: Workload, seed: int = 1) -> Simulation:
    simulation = Simulation(job, Keda(TUNED, seed), seed)
    simulation.run()
    return simulation


def test_same_seed_same_outcome() -> None:
    assert measure(run(small(), 3)) == measure(run(small(), 3))
    assert measure(run(small(), 3)) != measure(run(small(), 4))


@pytest.mark.parametrize(
    "job",
    [small(), small(grace_seconds=1.0), small(failing=((50.0, 120.0),)), small(blind=((30.0, 90.0),)), small(rollout_at=60.0)],
    ids=["plain", "short grace", "failing", "blind", "rollout"],
)
def test_every_job_ends_once(job: Workload) -> None:
    simulation = run(job)
    assert simulation.completed == len(job.trace)
    assert simulation.running == [0, 0]
    assert simulation.board.waiting == 0
    assert sum(map(len, simulation.waits)) == len(job.trace) + simulation.failed
    assert not simulation.cluster.pods
    assert all(pod.free <= job.slots for pod in simulation.cluster.pods.values())


def test_short_grace_interrupts_and_long_grace_does_not() -> None:
    assert run(small(grace_seconds=1.0, rollout_at=60.0)).interrupted > 0
    assert run(small(grace_seconds=600.0, rollout_at=60.0)).interrupted == 0


def test_failing_jobs_are_retried_later() -> None:
    assert run(small(failing=((50.0, 120.0),))).failed > 0


def test_a_pod_that_never_starts_takes_no_job() -> None:
    simulation = run(small(pod_start=PodStart(never=1.0)))
    assert simulation.completed == 0
    assert simulation.board.waiting == 200
    assert measure(simulation).share == 0


def test_clairvoyant_bound_is_no_opinion() -> None:
    rows = [(0.0, 10.0, 0, 1, 0.0)] * 4
    job = Workload("bound", (QueueSettings("a", 5, 1),), 1, make_trace(list(rows)), 100.0, 2)
    assert reachable(job).share == 0.5
    assert reachable(replace(job, max_replicas=4)).share == 1.0
    assert reachable(replace(job, max_replicas=10_000, slots=10_000)).share == 1.0, "slots beyond the jobs cost nothing"


def test_clairvoyant_bound_is_told_of_each_queue() -> None:
    rows = [(0.0, 10.0, queue, 1, 0.0) for queue in (0, 1, 1)]
    queues = (QueueSettings("urgent", 5, 1), QueueSettings("bulk", 15, 1), QueueSettings("empty", 5, 1))
    found = reachable(Workload("bound", queues, 1, make_trace(rows), 100.0, 1))
    assert found.queues == {"urgent": 1.0, "bulk": 0.5, "empty": 1.0}
    assert found.share == 2 / 3


def test_waits_are_told_of_each_queue_by_name() -> None:
    rows = [(float(n), 1.0, 0, 1, float(n)) for n in range(20)] + [(0.0, 1.0, 1, 1, 0.0)]
    queues = (QueueSettings("quick", 600, 4), QueueSettings("hopeless", 0.1, 4), QueueSettings("empty", 30, 4))
    outcome = measure(run(Workload("some", queues, 4, make_trace(rows), 900.0)))
    assert [(name, queue.goal, queue.share) for name, queue in outcome.queues.items()] == [
        ("quick", 600, 1.0), ("hopeless", 0.1, 0.0), ("empty", 30, 1.0),
    ]  # fmt: skip
    assert outcome.share == 20 / 21
    assert 0 < outcome.queues["quick"].p95 <= outcome.queues["quick"].p99 <= 600
    assert outcome.queues["empty"].p95 == 0.0


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [
        (range(100, 0, -1), 0.5, 50),
        (range(1, 101), 0.95, 95),
        (range(1, 101), 0.07, 7),
        ([3, 1, 2], 0.5, 2),
        ([7], 0.99, 7),
        ([1, 2], 1.0, 2),
    ],
)
def test_percentiles(values: Sequence[float], share: float, value: float) -> None:
    assert percentile(list(values), share) == value


def test_of_no_value_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="of no value there is none"):
        percentile([], 0.5)


@pytest.mark.parametrize(("name", "first"), [("retry-storm", "retry storm 1"), ("noisy-neighbours", "noisy neighbours 1")])
def test_names_can_be_typed_and_what_was_published_is_drawn_still(name: str, first: str) -> None:
    rate = {"retry-storm": 20, "noisy-neighbours": 10}[name]
    assert random.Random(first).expovariate(rate) in workload(name, 1).trace.due
    assert all(" " not in known for known in NAMES)


@pytest.mark.parametrize("name", ["step", "onoff", "trickle", "long", "bimodal", "scheduled", "rollout"])
def test_workloads_are_reproducible(name: str) -> None:
    one = workload(name, 1)
    assert one == workload(name, 1)
    assert list(one.trace.due) == sorted(one.trace.due)
    assert 0 <= one.trace.due[0] <= one.trace.due[-1] < one.horizon
    assert one.trace.due != workload(name, 2).trace.due or name == "scheduled"
