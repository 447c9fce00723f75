"""Runs every case in interleaved rounds, so that what else the computer does hits all systems alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from benchmarks.cases import Case, Setup
from benchmarks.measure import BenchmarkError, Figures, measure
from benchmarks.progress import Progress
from benchmarks.server import Server
from benchmarks.systems import SYSTEMS

RoundT = TypeVar("RoundT")
#: Of one setup, over all rounds: one that takes minutes to fail is not tried for ever.
_MOST_FAILURES = 3


class Rounds:
    """The figures of each round.

    Args:
        server: where all of it happens.
        cases: what is run.
        rounds: how often.
    """

    def __init__(self, server: Server, cases: Sequence[Case], rounds: int) -> None:
        self._server, self._cases, self._rounds = server, cases, rounds
        self._figures: dict[Case, dict[Setup, dict[int, Figures]]] = {case: defaultdict(dict) for case in cases}
        self._failed: dict[Case, dict[Setup, list[str]]] = {case: defaultdict(list) for case in cases}
        self._progress = Progress([(case, setup) for _ in range(rounds) for case in cases for setup in case.setups])

    def run(self) -> Iterator[dict[str, Any]]:
        """Run all cases; yields after each round, by case and setup, the figures' medians and extremes, and ratios.

        Raises:
            BenchmarkError: one of ours failed. What fails of another system is tried once more, and listed; if that fails,
                too, this round is without it, and after three failures all that follow.
        """
        for number in range(self._rounds):
            for case in self._cases:
                for setup in case.setups:
                    at = self._progress.next()
                    print(f"{at}: round {number + 1} of {self._rounds}, {case.name}: {setup.label}", flush=True)
                    if not self._take_turn(case, setup, number):
                        self._take_turn(case, setup, number)
            yield {case.name: summary(case, self._figures[case], self._failed[case]) for case in self._cases}

    def _take_turn(self, case: Case, setup: Setup, number: int) -> bool:
        """One try; returns whether that round is done with it."""
        failed = self._failed[case][setup]
        if len(failed) >= _MOST_FAILURES:
            print(f"    left out after {_MOST_FAILURES} failures", flush=True)
            return True
        try:
            figures = measure(self._server, case, setup)
        except BenchmarkError as error:
            if SYSTEMS[setup.system].ours:
                raise
            print(f"    failed: {error}", flush=True)
            failed.append(f"round {number + 1}: {error}")
            return False
        self._figures[case][setup][number + 1] = figures
        shown = {name: round(value, 3) for name, value in figures.items() if not isinstance(value, list)}
        print("   ", ", ".join(f"{name} {value:g}" for name, value in shown.items()), flush=True)
        return True


def summary(
    case: Case, runs: Mapping[Setup, Mapping[int, Figures]], failed: Mapping[Setup, Sequence[str]] = MappingProxyType({})
) -> dict[str, Any]:
    """One case: for each setup its exact settings, its figures and the first setup's ratio to it; and what failed.

    Args:
        case: what was run.
        runs: the figures by the number of their round.
        failed: what was said of each failure.
    """
    table = {}
    first = _by_round(case, runs.get(case.setups[0], {}))
    for setup, by_round in runs.items():
        if not by_round:
            continue
        figures, others = list(by_round.values()), _by_round(case, by_round)
        series = {name: value for name, value in figures[-1].items() if isinstance(value, list)}
        table[setup.label] = {
            "system": setup.system,
            "settings": setup.settings,
            "flags": [*case.flags, *setup.flags],
            "made_with": list(setup.made),
            "jobs": setup.jobs or case.jobs,
            "finished_jobs_before": setup.history,
            "old_snapshot": setup.old_snapshot,
            "figures": {name: spread([one[name] for one in figures]) for name in figures[0] if name not in series},
            "series": series,
            "by_round": {str(number): value for number, value in others.items()},
            "first_to_this": spread(ratios(first, others, lower=case.lower)),
        }
    return {
        "mode": case.mode,
        "figure": case.figure,
        "lower": case.lower,
        "setups": table,
        "failed": {setup.label: list(whys) for setup, whys in failed.items() if whys},
    }


def _by_round(case: Case, figures: Mapping[int, Figures]) -> dict[int, float]:
    return {number: one[case.figure] for number, one in figures.items()}


def ratios(one: Mapping[RoundT, float], other: Mapping[RoundT, float], *, lower: bool) -> list[float]:
    """How many times better one setup is than another, for each round that both have.

    Args:
        one: figures by round.
        other: figures by round.
        lower: whether less is better.
    """
    return [other[at] / one[at] if lower else one[at] / other[at] for at in one if at in other]


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Their median, least and most; None of none."""
    if not values:
        return None
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }
