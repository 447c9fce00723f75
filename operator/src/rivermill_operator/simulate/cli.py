"""``rivermill-operator simulate``: run, print, check."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rivermill_operator.simulate import bars, catalog
from rivermill_operator.simulate.matrix import POLICIES, Run, run_all

_COLUMNS = ("share", "p50", "p95", "p99", "pod_seconds", "cost", "peak", "interrupted", "lost_seconds", "writes", "first_pod")
#: Where a small value is the bad one.
_LOW_IS_WORSE = ("share",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    names = [*catalog.NAMES, bars.NOISE]
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each workload (default 1)")
    parser.add_argument("--pods", choices=tuple(catalog.POD_STARTS), default="warm", help="how pods start")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed, and say which")


def run(options: argparse.Namespace) -> int:
    """Run the command; 0 is success, 1 a missed bar, 2 a wrong command line."""
    known = (*catalog.NAMES, bars.NOISE)
    wrong = [name for name in options.workloads if name not in known]
    if wrong or options.seeds < 1:
        complaint = f"workload {wrong[0]!r} is not known" if wrong else f"--seeds {options.seeds}: at least 1"
        sys.stderr.write(f"rivermill-operator simulate: {complaint}; see --help\n")
        return 2
    runs = run_all(options.workloads or known, options.seeds, options.pods, tuple(POLICIES), _progress)
    sys.stdout.write(table(runs) + "\n")
    failures = bars.check(runs)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report(runs, failures), indent=1) + "\n")
    for failure in failures if options.check else ():
        sys.stdout.write(f"missed: {failure}\n")
    return 1 if options.check and failures else 0


def _progress(done: int, total: int, last: Run) -> None:
    sys.stderr.write(f"\r{done}/{total} {last.workload} seed {last.seed}".ljust(60) + ("\n" if done == total else ""))
    sys.stderr.flush()


def summarize(runs: Sequence[Run], name: str, policy: str) -> dict[str, dict[str, float]]:
    """Mean and worst over seeds of each figure of one workload under one scaler."""
    outcomes = [asdict(run.outcomes[policy]) for run in runs if run.workload == name]
    return {
        column: {
            "mean": sum(outcome[column] for outcome in outcomes) / len(outcomes),
            "worst": (min if column in _LOW_IS_WORSE else max)(outcome[column] for outcome in outcomes),
        }
        for column in _COLUMNS
    }


def report(runs: Sequence[Run], failures: Sequence[str]) -> dict[str, Any]:
    """Everything as JSON."""
    names = dict.fromkeys(run.workload for run in runs)
    return {
        "summary": {name: {policy: summarize(runs, name, policy) for policy in POLICIES} for name in names},
        "runs": [asdict(run) for run in runs],
        "missed": list(failures),
    }


def table(runs: Sequence[Run]) -> str:
    """Means over seeds, a row for each workload, a group of columns for each scaler."""
    head = f"{'workload':<17} {'reach':>6} " + " ".join(f"| {policy:^33}" for policy in POLICIES)
    lines = [head, " " * 25 + " ".join(f"| {'goal %':>7} {'p95 s':>7} {'cost':>7} {'kill':>4} {'wr':>4}" for _ in POLICIES)]
    for name in dict.fromkeys(run.workload for run in runs):
        reach = [run.reachable for run in runs if run.workload == name]
        cells = []
        for policy in POLICIES:
            figure = {column: values["mean"] for column, values in summarize(runs, name, policy).items()}
            cells.append(
                f"| {figure['share'] * 100:7.2f} {figure['p95']:7.1f} {figure['cost']:7.2f}"
                f" {figure['interrupted']:4.0f} {figure['writes']:4.0f}"
            )
        lines.append(f"{name:<17} {sum(reach) / len(reach) * 100:6.1f} " + " ".join(cells))
    return "\n".join(lines)
