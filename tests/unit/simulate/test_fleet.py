"""What the operator's decision is shown of a simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from rivermill_operator.model.observed import Observed, StoreView
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.simulate import fleet
from rivermill_operator.simulate.engine import Simulation
from rivermill_operator.simulate.workload import QueueSettings, Workload, make_trace

#: Ten seconds of two jobs a second; the last ten jobs are known beforehand.
JOBS = [(at / 2, 2.0, 0, 1, at / 2) for at in range(20)] + [(40.0, 2.0, 0, 1, 0.0)] * 10
WORKLOAD = Workload("some", (QueueSettings("default", 10, 5),), 5, make_trace(list(JOBS)), 80.0)


def looks(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Observed], Simulation]:
    seen: list[Observed] = []

    def look(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
        seen.append(observed)
        return plan(observed, job_queue, memory)

    watched: Callable[[Observed, JobQueue, Memory], Plan] = look
    monkeypatch.setattr(fleet, "plan", watched)
    simulation = Simulation(workload, fleet.Fleet(), 1)
    simulation.run()
    return seen, simulation


def store_of(observed: Observed) -> StoreView:
    assert isinstance(observed.store, StoreView)
    return observed.store


def test_the_decision_sees_what_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, simulation = looks(WORKLOAD, monkeypatch)
    depths = [store_of(observed).queues[0] for observed in seen]
    assert all(a.arrived <= b.arrived and a.finished.jobs <= b.finished.jobs for a, b in pairwise(depths))
    assert depths[-1].arrived == 20, "what is scheduled is looked ahead to, it does not arrive"
    assert max(depth.due_soon for depth in depths) == 10
    assert (simulation.completed, depths[-1].finished.jobs) == (30, 30)
    assert depths[-1].finished.seconds == pytest.approx(60.0)
    assert all(0 <= depth.running_seconds <= 2.0 * depth.running + 1e-6 for depth in depths)


def test_pods_show_their_start_and_what_runs_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = looks(WORKLOAD, monkeypatch)
    clients = [client for observed in seen for client in store_of(observed).clients]
    assert all(sum(client.running_by_queue.values()) == client.running for client in clients)
    assert max(client.running for client in clients) > 0
    starts = [pod.ready_after_seconds for observed in seen for pod in observed.pods if pod.ready]
    assert starts
    assert all(start is not None and 5.0 <= start <= 12.0 for start in starts)


def test_failed_attempts_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, simulation = looks(replace(WORKLOAD, failing=((0.0, 20.0),)), monkeypatch)
    shown = max(sum(client.failed for client in store_of(observed).clients) for observed in seen)
    assert 0 < shown <= simulation.failed
