"""Runs every case in interleaved rounds, so that what else the computer does hits all systems alike."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cases import Case, Setup
from benchmarks.measure import Figures, measure
from benchmarks.progress import Progress
from benchmarks.server import Server


def run(server: Server, cases: Sequence[Case], rounds: int) -> Iterator[dict[str, Any]]:
    """Run all cases; yields after each round, by case and setup, the figures' medians and extremes, and ratios."""
    results: dict[Case, dict[Setup, list[Figures]]] = {case: defaultdict(list) for case in cases}
    turns = [(case, setup) for _ in range(rounds) for case in cases for setup in case.setups]
    progress = Progress(turns)
    for number in range(rounds):
        for case in cases:
            for setup in case.setups:
                print(f"{progress.next()}: round {number + 1} of {rounds}, {case.name}: {setup.label}", flush=True)
                figures = measure(server, case, setup)
                results[case][setup].append(figures)
                shown = {name: round(value, 3) for name, value in figures.items() if not isinstance(value, list)}
                print("   ", ", ".join(f"{name} {value:g}" for name, value in shown.items()), flush=True)
        yield {case.name: summary(case, results[case]) for case in cases}


def summary(case: Case, runs: dict[Setup, list[Figures]]) -> dict[str, Any]:
    """One case: for each setup its exact settings and its figures, and the first setup's ratio to it."""
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
    return {"mode": case.mode, "figure": case.figure, "lower": case.lower, "setups": table}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }
