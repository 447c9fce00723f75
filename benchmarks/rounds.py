"""Runs every case in interleaved rounds, so that what else the computer does hits all systems alike."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cases import Case, Setup
from benchmarks.server import Server
from benchmarks.systems import SYSTEMS

_SECONDS = 600.0
#: Figures of one run are lists of times in these; their percentiles are what is kept.
_TIMES = ("call_ms", "commit_ms")

Figures = dict[str, float]


class BenchmarkError(Exception):
    """A run failed, or jobs were lost or run twice; its figures would mean nothing."""


def measure(server: Server, case: Case, setup: Setup) -> Figures:
    """One run of one system, checked."""
    system = SYSTEMS[setup.system]
    home = SYSTEMS[system.home or system.name].command()
    jobs = setup.jobs or case.jobs
    url = asyncio.run(server.renew_database("bench"))
    _call(home, "prepare", url)
    if case.filled:
        _call(home, "fill", url, f"--jobs={jobs}")
    asyncio.run(server.settle("bench"))
    wal, cpu = asyncio.run(server.wal_bytes()), server.cpu_seconds()
    result = _call(system.command(), case.mode, url, f"--jobs={jobs}", *case.flags, *setup.flags)
    result["server_us"] = (server.cpu_seconds() - cpu) / jobs * 1e6
    result["wal_bytes"] = (asyncio.run(server.wal_bytes()) - wal) / jobs
    done = jobs if case.mode == "insert" else _call(home, "check", url)["done"]
    if result.pop("ran") != jobs or done != jobs:
        raise BenchmarkError(f"{case.name}, {setup.label}: of {jobs} jobs {done} are done; some were lost or run twice")
    for name in _TIMES:
        if times := result.pop(name, None):
            for percent in (50, 99):
                result[f"{name.removesuffix('_ms')}_p{percent}_ms"] = percentile(times, percent)
    return result


def _call(command: Sequence[str], mode: str, url: str, *flags: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [*command, mode, f"--url={url}", *flags], check=True, capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"{' '.join(command)} {mode}: {error.stderr[-2000:]}") from error
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]


def run(server: Server, cases: Sequence[Case], rounds: int) -> Iterator[dict[str, Any]]:
    """Run all cases; yields after each round, by case and setup, the figures' medians and extremes, and ratios."""
    results: dict[Case, dict[Setup, list[Figures]]] = {case: defaultdict(list) for case in cases}
    for number in range(rounds):
        for case in cases:
            for setup in case.setups:
                figures = measure(server, case, setup)
                results[case][setup].append(figures)
                print(number, case.name, setup.label, {k: round(v, 3) for k, v in figures.items()}, sep=" | ", flush=True)
        yield {case.name: summary(case, results[case]) for case in cases}


def summary(case: Case, runs: dict[Setup, list[Figures]]) -> dict[str, Any]:
    """One case: for each setup its figures, and the first setup's ratio to it."""
    first = [figures[case.figure] for figures in runs[case.setups[0]]]
    table = {}
    for setup, figures in runs.items():
        others = [one[case.figure] for one in figures]
        ratios = [b / a if case.lower else a / b for a, b in zip(first, others, strict=True)]
        table[setup.label] = {
            "system": setup.system,
            "settings": setup.settings,
            "flags": [*case.flags, *setup.flags],
            "jobs": setup.jobs or case.jobs,
            "figures": {name: _spread([one[name] for one in figures]) for name in figures[0]},
            "first_to_this": _spread(ratios),
        }
    return {"mode": case.mode, "figure": case.figure, "setups": table}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }
