"""Figures of many runs: mean and worst over seeds, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rivermill_operator.simulate.matrix import POLICIES, Run

_COLUMNS = ("share", "p50", "p95", "p99", "pod_seconds", "cost", "peak", "interrupted", "lost_seconds", "writes", "first_pod")
_QUEUE_COLUMNS = ("share", "p50", "p95", "p99")
#: Where a small value is the bad one.
_LOW_IS_WORSE = ("share",)
#: What the table's columns are, for ``--help``.
COLUMNS_HELP = """\
columns of the table, means over seeds, and with several seeds below each
workload the worst of them, figure by figure:
  reach   % of the jobs that a scaler which knew all beforehand would start
          within their goal, with all --max-replicas pods ready from the start
  goal %  % of the jobs that started within their queue's goal
  p95 s   seconds that 95 % of the jobs waited at most, from due to start
  cost    pod-seconds / those that the jobs need with every slot in use
  kill    jobs that were interrupted
  wr      times that the number of replicas was written
Behind the name of a workload of one queue stands its goal. One of several
queues has a line for each of them below its own: its name, its goal, and how
long its jobs waited. What counts pods is the fleet's.
"""

Figures = dict[str, dict[str, float]]
#: Title, what is reachable, and the cells of each scaler.
Row = tuple[str, str, list[str]]
_HEAD = f"| {'goal %':>7} {'p95 s':>7} {'cost':>7} {'kill':>4} {'wr':>4}"


def summarize(runs: Sequence[Run], name: str, policy: str) -> Figures:
    """Mean and worst over seeds of each figure of one workload under one scaler."""
    return _figures([asdict(run.outcomes[policy]) for run in runs if run.workload == name], _COLUMNS)


def summarize_queues(runs: Sequence[Run], name: str, policy: str) -> dict[str, Figures]:
    """The same of each queue, by its name."""
    outcomes = [run.outcomes[policy].queues for run in runs if run.workload == name]
    return {queue: _figures([asdict(queues[queue]) for queues in outcomes], _QUEUE_COLUMNS) for queue in outcomes[0]}


def _figures(outcomes: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Figures:
    return {
        column: {
            "mean": sum(outcome[column] for outcome in outcomes) / len(outcomes),
            "worst": (min if column in _LOW_IS_WORSE else max)(outcome[column] for outcome in outcomes),
        }
        for column in columns
    }


def report(runs: Sequence[Run], failures: Sequence[str]) -> dict[str, Any]:
    """Everything as JSON; what is infinite, such as the first pod of a fleet that never had one, is null."""
    names = dict.fromkeys(run.workload for run in runs)
    summary = {
        name: {policy: {**summarize(runs, name, policy), "queues": summarize_queues(runs, name, policy)} for policy in POLICIES}
        for name in names
    }
    listed = [{key: value for key, value in asdict(run).items() if key != "samples"} for run in runs]
    finite: dict[str, Any] = _finite({"summary": summary, "runs": listed, "missed": list(failures)})
    return finite


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(runs: Sequence[Run], columns: int) -> str:
    """Means over seeds: a line for each workload, one for the worst seed, and for each queue, where there are several of these.

    Columns for each scaler; where the lines would be longer than ``columns``, the scalers stand in several tables.
    """
    names = list(dict.fromkeys(run.workload for run in runs))
    rows = [row for name in names for row in _rows([run for run in runs if run.workload == name], name)]
    width = max(17, *(len(title) for title, _, _ in rows))
    fitting = max(1, (columns - len(f"{'':{width}} {'':6}")) // len(f" {_HEAD}"))
    policies = list(POLICIES)
    parts = [range(at, min(at + fitting, len(policies))) for at in range(0, len(policies), fitting)]
    return "\n\n".join(_part(rows, width, {at: policies[at] for at in part}) for part in parts)


def _part(rows: Sequence[Row], width: int, policies: Mapping[int, str]) -> str:
    """The table of some scalers, by their place in the cells of a row."""
    head = " ".join([f"{'workload':<{width}} {'reach':>6}", *(f"| {policy:^33}" for policy in policies.values())])
    columns = " ".join([f"{'':{width}} {'':6}", *(_HEAD for _ in policies)])
    lines = [" ".join([f"{title:<{width}} {reach}", *(cells[at] for at in policies)]).rstrip() for title, reach, cells in rows]
    return "\n".join([head, columns, *lines])


def _rows(runs: Sequence[Run], name: str) -> list[Row]:
    """Of a workload's line, of its worst seed's, and of its queues'."""
    summary = [summarize(runs, name, policy) for policy in POLICIES]
    goals, reach = runs[0].goals, [run.reachable.share for run in runs]
    title = name if len(goals) > 1 else _with_goal(name, *goals.values())
    rows = [(title, _percent(reach), [_cells(_of(figures, "mean")) for figures in summary])]
    if len(runs) > 1:
        rows.append(("  worst seed", _percent([min(reach)]), [_cells(_of(figures, "worst")) for figures in summary]))
    if len(goals) == 1:
        return rows
    summaries = [summarize_queues(runs, name, policy) for policy in POLICIES]
    for queue, goal in goals.items():
        waits = [_of(summary[queue], "mean") for summary in summaries]
        cells = [f"| {of['share'] * 100:7.2f} {of['p95']:7.1f} {'':7} {'':4} {'':4}" for of in waits]
        rows.append((f"  {_with_goal(queue, goal)}", _percent([run.reachable.queues[queue] for run in runs]), cells))
    return rows


def _with_goal(name: str, goal: float) -> str:
    return f"{name}, {goal:g} s"


def _cells(of: Mapping[str, float]) -> str:
    return f"| {of['share'] * 100:7.2f} {of['p95']:7.1f} {of['cost']:7.2f} {of['interrupted']:4.0f} {of['writes']:4.0f}"


def _of(figures: Figures, what: str) -> dict[str, float]:
    return {column: values[what] for column, values in figures.items()}


def _percent(shares: Sequence[float]) -> str:
    return f"{sum(shares) / len(shares) * 100:6.1f}"
