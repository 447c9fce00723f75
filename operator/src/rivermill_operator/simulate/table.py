"""Figures of many runs: mean and worst over seeds, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rivermill_operator.simulate.matrix import POLICIES, Run

_COLUMNS = ("share", "p50", "p95", "p99", "pod_seconds", "cost", "peak", "interrupted", "lost_seconds", "writes", "first_pod")
#: Where a small value is the bad one.
_LOW_IS_WORSE = ("share",)


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
        "runs": [{key: value for key, value in asdict(run).items() if key != "samples"} for run in runs],
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
