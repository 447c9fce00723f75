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
SetupT = TypeVar("SetupT")
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
        self._progress = Progress([turn for number in range(rounds) for turn in self._turns(number)])

    def run(self) -> Iterator[dict[str, Any]]:
        """Run all cases; yields after each round, by case and setup, the figures' medians and extremes, and ratios.

        Raises:
            BenchmarkError: one of ours failed. What fails of another system is tried once more, and listed; if that fails,
                too, this round is without it, and after three failures all that follow.
        """
        for number in range(self._rounds):
            for case, setup in self._turns(number):
                at = self._progress.next()
                print(f"{at}: round {number + 1} of {self._rounds}, {case.name}: {setup.label}", flush=True)
                if not self._take_turn(case, setup, number):
                    self._take_turn(case, setup, number)
            yield {case.name: summary(case, self._figures[case], self._failed[case]) for case in self._cases}

    def _turns(self, number: int) -> list[tuple[Case, Setup]]:
        return [(case, setup) for case in self._cases for setup in turned(case.setups, number, self._rounds)]

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


def turned(setups: Sequence[SetupT], number: int, rounds: int) -> list[SetupT]:
    """The setups in the order of a round: each begins elsewhere, and every other one goes backwards.

    So none is always the first, or always after the same one.

    Args:
        setups: in the order of the table.
        number: of the round, from 0.
        rounds: how many there are.
    """
    first = number * len(setups) // rounds
    order = [*setups[first:], *setups[:first]]
    return order[::-1] if number % 2 else order


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
    first = runs.get(case.setups[0], {})
    for setup in case.setups:
        by_round = runs.get(setup, {})
        if not by_round:
            continue
        figures = list(by_round.values())
        series = {name: value for name, value in figures[-1].items() if isinstance(value, list)}
        names = [name for name in figures[0] if name not in series]
        table[setup.label] = described(case, setup) | {
            "figures": {name: spread([one[name] for one in figures]) for name in names},
            "series": series,
            "by_round": {name: {str(number): value for number, value in _of(by_round, name).items()} for name in names},
            "first_to_this": spread(ratios(_of(first, case.figure), _of(by_round, case.figure), lower=case.lower)),
        }
    return {
        "mode": case.mode,
        "figure": case.figure,
        "lower": case.lower,
        "setups": table,
        "failed": {setup.label: list(whys) for setup, whys in failed.items() if whys},
    }


def described(case: Case, setup: Setup) -> dict[str, Any]:
    """The exact settings of a setup, as the report has them."""
    return {
        "system": setup.system,
        "settings": setup.settings,
        "flags": [*case.flags, *setup.flags],
        "made_with": list(setup.made),
        "jobs": setup.jobs or case.jobs,
        "finished_jobs_before": setup.history,
        "old_snapshot": setup.old_snapshot,
    }


def _of(figures: Mapping[int, Figures], name: str) -> dict[int, float]:
    return {number: one[name] for number, one in figures.items()}


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
