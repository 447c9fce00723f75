"""``python -m benchmarks.table``: the tables of docs/benchmarks.md, from ``build/bench.json``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import report
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
    """All tables, in Markdown; a case that several runs have has one for each. What a run was of is told once in a row."""
    parts, before = [], None
    for name, run, case in cases_of(runs):
        parts += [] if run is before else [report.told(run)]
        parts.append(_table(name, case))
        before = run
    return "\n\n".join(parts) + "\n"


def _table(name: str, case: dict[str, Any]) -> str:
    setups = case["setups"]
    there = {column for setup in setups.values() for column in setup["figures"]}
    columns = {column: title for column, title in _COLUMNS[case["mode"]].items() if column in there}
    lines = [f"### {name[0].upper()}{name[1:]}", ""]
    lines += [line(["system", "jobs", *columns.values(), "ratio"]), line(["---"] * (len(columns) + 3))]
    for label, setup in setups.items():
        figures = [_shown(setup["figures"].get(column)) for column in columns]
        lines.append(line([label, f"{setup['jobs']:,}", *figures, shown_spread(setup["first_to_this"])]))
    failed = [f"Failed: {label}: {'; '.join(whys)}" for label, whys in case["failed"].items()]
    return "\n".join([*lines, *(line for failure in failed for line in ("", failure))])


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def _shown(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "-"
    value = figure["median"]
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def shown_spread(ratio: dict[str, float] | None, digits: int = 2) -> str:
    """A median with the least and the most, with so many digits after the point; a dash for none."""
    if ratio is None:
        return "-"
    return f"{ratio['median']:.{digits}f} ({ratio['least']:.{digits}f} to {ratio['most']:.{digits}f})"


if __name__ == "__main__":
    sys.stdout.write(tables(read()))
