"""A run as the report has it."""

from __future__ import annotations

from typing import Any

from benchmarks import report
from benchmarks.cases import Setup

FIRST, OTHER = Setup("rivermill", "fast"), Setup("river", "")


def run_of(cases: dict[str, Any], started: str = "2026-11-28T10:00:00+00:00", **more: Any) -> report.Run:
    return {
        "form": 2, "started": started, "what": "peers", "arguments": ["--rounds", "1"], "rounds": 1, "commit": "abc",
        "machine": {"cores": 2, "processor": "P", "load_average": [0.5, 0.5, 0.5]}, "server": {"server_version": "18.1"},
        "cases": cases,
        "left_out": {"awa": "awa needs more"},
        "runs_in": {
            "rivermill": {"python": "3.13.0", "uvloop": "1"}, "oban": {"python": "3.13.0", "uvloop": "1"}, "river": {"go": "2"},
        },
    } | more  # fmt: skip
