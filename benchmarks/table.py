"""``python -m benchmarks.table``: the tables of docs/benchmarks.md, from ``build/bench.json``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.report import Run, cases_of, read

#: What is shown of a mode, where a case has it.
_WORK = {
    "per_second": "jobs/s",
    "of_slots": "of slots",
    "client_us": "client CPU µs",
    "server_us": "server CPU µs",
    "wal_bytes": "WAL B",
    "rss_mb": "RSS MB",
    "first_quarter_mb": "first quarter MB",
    "last_quarter_mb": "last quarter MB",
    "growth_mb": "growth MB",
    "connections": "connections",
}
_TIMES = {
    "call_p50_ms": "call p50 ms",
    "call_p99_ms": "call p99 ms",
    "commit_p50_ms": "commit p50 ms",
    "commit_p99_ms": "commit p99 ms",
}
_COLUMNS = {"drain": _WORK, "insert": _WORK, "latency": _TIMES}


def tables(runs: Sequence[Run]) -> str:
    """All tables, in Markdown; a case that several runs have has one for each of them."""
    return "\n\n".join(_table(name, run, case) for name, run, case in cases_of(runs)) + "\n"


def _table(name: str, run: Run, case: dict[str, Any]) -> str:
    setups = case["setups"]
    there = {column for setup in setups.values() for column in setup["figures"]}
    columns = {column: title for column, title in _COLUMNS[case["mode"]].items() if column in there}
    arguments = " ".join(("python -m benchmarks", *run["arguments"]))
    lines = [f"### {name[0].upper()}{name[1:]}", "", f"{run['started'][:10]}, `{arguments}`, {run['rounds']} rounds.", ""]
    lines += [_line(["system", "jobs", *columns.values(), "ratio"]), _line(["---"] * (len(columns) + 3))]
    for label, setup in setups.items():
        figures = [_shown(setup["figures"].get(column)) for column in columns]
        lines.append(_line([label, f"{setup['jobs']:,}", *figures, _spread(setup["first_to_this"])]))
    failed = [f"Failed: {label}: {why}" for label, why in case.get("failed", {}).items()]
    return "\n".join([*lines, *(line for failure in failed for line in ("", failure))])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "-"
    value = figure["median"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"


if __name__ == "__main__":
    sys.stdout.write(tables(read()))
