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
    """Every bar that is missed, as a sentence that says where: no seed may have a job interrupted, the others are for means."""
    failures: list[str] = []
    ratios = []
    for name in dict.fromkeys(run.workload for run in runs):
        chosen = [run for run in runs if run.workload == name]
        failures += _interrupted(name, chosen)
        if name == NOISE:
            failures += _noise(chosen)
            continue
        failures += _shares(name, chosen)
        ratio = _mean(r.outcomes[OURS].pod_seconds / r.outcomes[RIVAL].pod_seconds for r in chosen)
        ratios.append(ratio)
        kills = any(r.outcomes[RIVAL].interrupted for r in chosen)
        limit = COST_RATIO_WHERE_KEDA_INTERRUPTS if kills else COST_RATIO
        if ratio > limit:
            failures.append(f"{name}: {ratio:.2f} times tuned KEDA's pod-seconds, at most {limit}")
    if ratios and (geometric := math.exp(_mean(math.log(ratio) for ratio in ratios))) >= 1:
        failures.append(f"all: {geometric:.3f} times tuned KEDA's pod-seconds in the geometric mean, must be below 1")
    return failures


def check_single_seeds(runs: Sequence[Run]) -> list[str]:
    """What each seed would miss by itself, where there are several: what means hide."""
    seeds = sorted({run.seed for run in runs})
    if len(seeds) == 1:
        return []
    return [f"seed {seed} alone: {failure}" for seed in seeds for failure in check([run for run in runs if run.seed == seed])]


def _shares(name: str, runs: Sequence[Run]) -> list[str]:
    """Of all jobs, and of each queue by itself where there are several: what one of few jobs misses is lost in the mixture."""
    ours, rival = ([run.outcomes[who] for run in runs] for who in (OURS, RIVAL))
    missed = _share(name, _mean(o.share for o in ours), _mean(o.share for o in rival), _mean(r.reachable.share for r in runs))
    queues = tuple(ours[0].queues)
    for queue in queues if len(queues) > 1 else ():
        share, other = (_mean(outcome.queues[queue].share for outcome in outcomes) for outcomes in (ours, rival))
        missed += _share(f"{name}, queue {queue}", share, other, _mean(run.reachable.queues[queue] for run in runs))
    return missed


def _share(name: str, share: float, rival: float, reachable: float) -> list[str]:
    missed = []
    if reachable >= GOOD_SHARE and share < GOOD_SHARE:
        missed.append(f"{name}: {share:.2%} within the goal, at least 95 % can be reached")
    if share < rival:
        missed.append(f"{name}: {share:.3%} within the goal, tuned KEDA {rival:.3%}")
    return missed


def _interrupted(name: str, runs: Sequence[Run]) -> list[str]:
    worst = max(runs, key=lambda run: run.outcomes[OURS].interrupted)
    number = worst.outcomes[OURS].interrupted
    return [f"{name}: {count(number, 'job')} interrupted with seed {worst.seed}, the worst of {len(runs)}"] if number else []


def _noise(runs: Sequence[Run]) -> list[str]:
    writes = _mean(run.outcomes[OURS].writes / run.horizon * 3600 for run in runs)
    return [f"noise: {writes:.1f} replica writes per hour, at most 4"] if writes > NOISE_WRITES_PER_HOUR else []


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
