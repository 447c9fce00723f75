"""Every workload with every seed under every scaler, on all cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from rivermill_operator.simulate import catalog
from rivermill_operator.simulate.clairvoyant import Reachable, reachable
from rivermill_operator.simulate.engine import Policy, Simulation
from rivermill_operator.simulate.fleet import Fleet
from rivermill_operator.simulate.keda import DEFAULT, PLAIN_HPA, TUNED, Keda
from rivermill_operator.simulate.outcome import Outcome, measure
from rivermill_operator.simulate.sample import Sample
from rivermill_operator.simulate.workload import Workload

POLICIES: dict[str, Callable[[int], Policy]] = {
    "rivermill": lambda _: Fleet(),
    "keda-tuned": lambda seed: Keda(TUNED, seed),
    "keda": lambda seed: Keda(DEFAULT, seed),
    "hpa": lambda seed: Keda(PLAIN_HPA, seed),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One workload with one seed: what each scaler made of it, what could be reached, and looks in between if they are kept."""

    workload: str
    seed: int
    horizon: float
    reachable: Reachable
    outcomes: dict[str, Outcome]
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def goals(self) -> dict[str, float]:
        """Seconds that each queue's jobs may wait, by its name."""
        return {name: queue.goal for name, queue in next(iter(self.outcomes.values())).queues.items()}


def simulate(workload: Workload, policy: str, seed: int) -> Simulation:
    """Run one scaler; ``policy`` is one of ``POLICIES``."""
    simulation = Simulation(workload, POLICIES[policy](seed), seed)
    simulation.run()
    return simulation


def run_one(source: str | Workload, seed: int, pods: str, policies: Sequence[str], *, keep_samples: bool) -> Run:
    """One workload, or the reference workload of a name, under several scalers."""
    workload = catalog.workload(source, seed, pods) if isinstance(source, str) else source
    done = {policy: simulate(workload, policy, seed) for policy in policies}
    outcomes = {policy: measure(simulation) for policy, simulation in done.items()}
    samples = {policy: simulation.samples for policy, simulation in done.items()} if keep_samples else {}
    return Run(workload.name, seed, workload.horizon, reachable(workload), outcomes, samples)


def run_all(
    sources: Sequence[str | Workload],
    seeds: int,
    pods: str,
    policies: Sequence[str],
    progress: Callable[[int, int, Run | None], None],
    *,
    keep_samples: bool = False,
) -> list[Run]:
    """Every combination, seeds 1 to ``seeds``; ``progress`` hears of the beginning and of each run as ``(done, total, run)``.

    With ``keep_samples`` the first seed's looks in between are kept. An exception, KeyboardInterrupt too, ends all runs.
    """
    tasks = [(source, seed) for source in sources for seed in range(1, seeds + 1)]
    runs: list[Run] = []
    progress(0, len(tasks), None)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        try:
            with _interrupts_held():
                futures = [
                    pool.submit(run_one, source, seed, pods, tuple(policies), keep_samples=keep_samples and seed == 1)
                    for source, seed in tasks
                ]
            for future in as_completed(futures):
                runs.append(future.result())
                progress(len(runs), len(tasks), runs[-1])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    names = [source if isinstance(source, str) else source.name for source in sources]
    return sorted(runs, key=lambda run: (names.index(run.workload), run.seed))


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A terminal interrupts all processes at once; those that are started here never hear of it, this one does afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
