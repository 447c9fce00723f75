"""What must hold of the operator's decisions, checked against tuned KEDA over all runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rivermill_operator.plan.explain import count
from rivermill_operator.simulate.matrix import Run

OURS, RIVAL, NOISE = "rivermill", "keda-tuned", "noise"
GOOD_SHARE = 0.95
COST_RATIO = 1.2
COST_RATIO_WHERE_KEDA_INTERRUPTS = 1.25
NOISE_WRITES_PER_HOUR = 4.0


def check(runs: Sequence[Run]) -> list[str]:
    """Every bar that is missed, as a sentence that says where: each seed is held to each of them, so that no mean hides one."""
    failures: list[str] = []
    ratios = []
    for name in dict.fromkeys(run.workload for run in runs):
        chosen = [run for run in runs if run.workload == name]
        failures += [f"{name}, seed {run.seed}: {missed}" for run in chosen for missed in _missed(run)]
        if name != NOISE:
            ratios.append(_mean(_cost_ratio(run) for run in chosen))
    if ratios and (geometric := math.exp(_mean(math.log(ratio) for ratio in ratios))) >= 1:
        failures.append(f"all: {geometric:.3f} times tuned KEDA's pod-seconds in the geometric mean, must be below 1")
    return failures


def _missed(run: Run) -> list[str]:
    interrupted = run.outcomes[OURS].interrupted
    missed = [f"{count(interrupted, 'job')} interrupted"] if interrupted else []
    return missed + (_noise(run) if run.workload == NOISE else [*_shares(run), *_cost(run)])


def _shares(run: Run) -> list[str]:
    """Of all jobs, and of each queue by itself where there are several: what one of few jobs misses is lost in the mixture."""
    ours, rival = run.outcomes[OURS], run.outcomes[RIVAL]
    missed = _share("", ours.share, rival.share, run.reachable.share)
    queues = tuple(ours.queues)
    for queue in queues if len(queues) > 1 else ():
        share, other = ours.queues[queue].share, rival.queues[queue].share
        missed += _share(f"queue {queue}: ", share, other, run.reachable.queues[queue])
    return missed


def _share(of: str, share: float, rival: float, reachable: float) -> list[str]:
    missed = []
    if reachable >= GOOD_SHARE and share < GOOD_SHARE:
        missed.append(f"{of}{share:.2%} within the goal, at least 95 % can be reached")
    if share < rival:
        missed.append(f"{of}{share:.3%} within the goal, tuned KEDA {rival:.3%}")
    return missed


def _cost(run: Run) -> list[str]:
    limit = COST_RATIO_WHERE_KEDA_INTERRUPTS if run.outcomes[RIVAL].interrupted else COST_RATIO
    ratio = _cost_ratio(run)
    return [f"{ratio:.2f} times tuned KEDA's pod-seconds, at most {limit}"] if ratio > limit else []


def _cost_ratio(run: Run) -> float:
    return run.outcomes[OURS].pod_seconds / run.outcomes[RIVAL].pod_seconds


def _noise(run: Run) -> list[str]:
    writes = run.outcomes[OURS].writes / run.horizon * 3600
    return [f"{writes:.1f} replica writes per hour, at most 4"] if writes > NOISE_WRITES_PER_HOUR else []


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
