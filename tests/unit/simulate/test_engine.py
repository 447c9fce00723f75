"""What holds of every simulation: the same again, every job once, no pod over its slots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rivermill_operator.simulate.catalog import workload
from rivermill_operator.simulate.clairvoyant import reachable_share
from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.keda import TUNED, Keda
from rivermill_operator.simulate.outcome import measure
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
    assert reachable_share(job) == 0.5
    assert reachable_share(replace(job, max_replicas=4)) == 1.0


@pytest.mark.parametrize("name", ["step", "onoff", "trickle", "long", "bimodal", "scheduled", "rollout"])
def test_workloads_are_reproducible(name: str) -> None:
    one = workload(name, 1)
    assert one == workload(name, 1)
    assert list(one.trace.due) == sorted(one.trace.due)
    assert 0 <= one.trace.due[0] <= one.trace.due[-1] < one.horizon
    assert one.trace.due != workload(name, 2).trace.due or name == "scheduled"
