"""Runs every case in interleaved rounds, so that what else the computer does hits all systems alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.cases import Case, Setup
from benchmarks.measure import BenchmarkError, Figures, measure
from benchmarks.progress import Progress
from benchmarks.server import Server
from benchmarks.systems import SYSTEMS


class Rounds:
    """The figures of each round.

    Args:
        server: where all of it happens.
        cases: what is run.
        rounds: how often.
    """

    def __init__(self, server: Server, cases: Sequence[Case], rounds: int) -> None:
        self._server, self._cases, self._rounds = server, cases, rounds
        self._figures: dict[Case, dict[Setup, list[Figures]]] = {case: defaultdict(list) for case in cases}
        self._failed: dict[Case, dict[Setup, str]] = {case: {} for case in cases}
        self._progress = Progress([(case, setup) for _ in range(rounds) for case in cases for setup in case.setups])

    def run(self) -> Iterator[dict[str, Any]]:
        """Run all cases; yields after each round, by case and setup, the figures' medians and extremes, and ratios.

        Raises:
            BenchmarkError: one of ours failed. What fails of another system is left out from then on, and listed.
        """
        for number in range(self._rounds):
            for case in self._cases:
                for setup in case.setups:
                    at = self._progress.next()
                    if setup not in self._failed[case]:
                        print(f"{at}: round {number + 1} of {self._rounds}, {case.name}: {setup.label}", flush=True)
                        self._take_turn(case, setup)
            yield {case.name: summary(case, self._figures[case], self._failed[case]) for case in self._cases}

    def _take_turn(self, case: Case, setup: Setup) -> None:
        try:
            figures = measure(self._server, case, setup)
        except BenchmarkError as error:
            if SYSTEMS[setup.system].ours:
                raise
            print(f"    failed, and is left out from now on: {error}", flush=True)
            self._failed[case][setup] = str(error)
            self._figures[case].pop(setup, None)
            return
        self._figures[case][setup].append(figures)
        shown = {name: round(value, 3) for name, value in figures.items() if not isinstance(value, list)}
        print("   ", ", ".join(f"{name} {value:g}" for name, value in shown.items()), flush=True)


def summary(
    case: Case, runs: Mapping[Setup, list[Figures]], failed: Mapping[Setup, str] = MappingProxyType({})
) -> dict[str, Any]:
    """One case: for each setup its exact settings and its figures, and the first setup's ratio to it; and why others failed."""
    first = [figures[case.figure] for figures in runs[case.setups[0]]]
    table = {}
    for setup, figures in runs.items():
        others = [one[case.figure] for one in figures]
        ratios = [b / a if case.lower else a / b for a, b in zip(first, others, strict=True)]
        series = {name: value for name, value in figures[-1].items() if isinstance(value, list)}
        table[setup.label] = {
            "system": setup.system,
            "settings": setup.settings,
            "flags": [*case.flags, *setup.flags],
            "made_with": list(setup.made),
            "jobs": setup.jobs or case.jobs,
            "finished_jobs_before": setup.history,
            "old_snapshot": setup.old_snapshot,
            "figures": {name: _spread([one[name] for one in figures]) for name in figures[0] if name not in series},
            "series": series,
            "first_to_this": _spread(ratios),
        }
    return {
        "mode": case.mode,
        "figure": case.figure,
        "lower": case.lower,
        "setups": table,
        "failed": {setup.label: why for setup, why in failed.items()},
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }
