"""Every workload with every seed under every scaler, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from rivermill_operator.simulate import catalog
from rivermill_operator.simulate.clairvoyant import reachable_share
from rivermill_operator.simulate.engine import Policy, Simulation
from rivermill_operator.simulate.fleet import Fleet
from rivermill_operator.simulate.keda import DEFAULT, PLAIN_HPA, TUNED, Keda
from rivermill_operator.simulate.outcome import Outcome, measure
from rivermill_operator.simulate.workload import Workload

POLICIES: dict[str, Callable[[int], Policy]] = {
    "rivermill": lambda _: Fleet(),
    "keda-tuned": lambda seed: Keda(TUNED, seed),
    "keda": lambda seed: Keda(DEFAULT, seed),
    "hpa": lambda seed: Keda(PLAIN_HPA, seed),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One workload with one seed: what each scaler made of it, and what could be reached."""

    workload: str
    seed: int
    horizon: float
    reachable: float
    outcomes: dict[str, Outcome]


def simulate(workload: Workload, policy: str, seed: int) -> Simulation:
    """Run one scaler; ``policy`` is one of ``POLICIES``."""
    simulation = Simulation(workload, POLICIES[policy](seed), seed)
    simulation.run()
    return simulation


def run_one(name: str, seed: int, pods: str, policies: Sequence[str]) -> Run:
    """One reference workload under several scalers."""
    workload = catalog.workload(name, seed, pods)
    outcomes = {policy: measure(simulate(workload, policy, seed)) for policy in policies}
    return Run(name, seed, workload.horizon, reachable_share(workload), outcomes)


def run_all(
    workloads: Sequence[str], seeds: int, pods: str, policies: Sequence[str], progress: Callable[[int, int, Run], None]
) -> list[Run]:
    """Every combination, seeds 1 to ``seeds``; ``progress`` hears of each as ``(done, total, run)``."""
    tasks = [(name, seed) for name in workloads for seed in range(1, seeds + 1)]
    runs: list[Run] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(run_one, name, seed, pods, tuple(policies)) for name, seed in tasks]
        for future in as_completed(futures):
            runs.append(future.result())
            progress(len(runs), len(tasks), runs[-1])
    order = {name: place for place, name in enumerate(workloads)}
    return sorted(runs, key=lambda run: (order[run.workload], run.seed))
