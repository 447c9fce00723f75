"""``python -m benchmarks.table``: the tables of docs/benchmarks.md, from ``build/bench.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_REPORT = Path(__file__).resolve().parent.parent / "build" / "bench.json"
_COLUMNS = {
    "drain": {
        "per_second": "jobs/s",
        "of_slots": "of slots",
        "client_us": "client CPU µs",
        "server_us": "server CPU µs",
        "wal_bytes": "WAL B",
        "rss_mb": "RSS MB",
    },
    "insert": {
        "per_second": "jobs/s",
        "client_us": "client CPU µs",
        "server_us": "server CPU µs",
        "wal_bytes": "WAL B",
        "rss_mb": "RSS MB",
    },
    "latency": {
        "call_p50_ms": "call p50 ms",
        "call_p99_ms": "call p99 ms",
        "commit_p50_ms": "commit p50 ms",
        "commit_p99_ms": "commit p99 ms",
    },
}


def tables(report: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    parts = []
    for name, case in report["cases"].items():
        columns = _COLUMNS[case["mode"]]
        lines = [f"### {name[0].upper()}{name[1:]}", "", _line(["system", "jobs", *columns.values(), "ratio"])]
        lines.append(_line(["---"] * (len(columns) + 3)))
        for label, setup in case["setups"].items():
            figures = [_shown(setup["figures"].get(column)) for column in columns]
            lines.append(_line([label, f"{setup['jobs']:,}", *figures, _spread(setup["first_to_this"])]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


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
    sys.stdout.write(tables(json.loads(_REPORT.read_text(encoding="utf-8"))))
