"""``python -m benchmarks.profile``: where time goes in drains, into docs/profiles.md.

On the server by ``pg_stat_statements``, statement by statement; in the worker by py-spy, function by function.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.cases import CASES, Case, Setup
from benchmarks.measure import DATABASE, check, drive, make_ready
from benchmarks.page import replaced
from benchmarks.sampled import py_spy, sample, tables
from benchmarks.server import Server, server
from benchmarks.systems import SYSTEMS

_PAGE = Path(__file__).resolve().parent.parent / "docs" / "profiles.md"
PARTS = ("statements", "worker")
_SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
}
_PROFILED = ("rivermill", "river")
#: What is sampled, the first setup of ours of each, with how many times its jobs: for about a thousand samples.
_SAMPLED = {"drain of no-op jobs": 10, "drain of jobs of 10 ms": 20}
_READ = (
    "SELECT query, calls, total_exec_time + total_plan_time AS ms, rows, wal_bytes::bigint AS wal_bytes "
    "FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1) ORDER BY ms DESC"
)
_SHOWN_CHARACTERS = 110
#: Statements that need less of the time than this are added up.
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Statement:
    """What one statement has used: calls, time in milliseconds, rows, and bytes of write-ahead log."""

    query: str
    calls: int
    ms: float
    rows: int
    wal_bytes: int


def profile(postgres: Server, case: Case, setup: Setup) -> list[Statement]:
    """Run a drain once, checked, and return its statements, the costliest first."""
    make_ready(postgres, case, setup)
    asyncio.run(_query(postgres, "SELECT pg_stat_statements_reset()"))
    ran = drive(postgres, case, setup)["ran"]
    rows = asyncio.run(_query(postgres, _READ, DATABASE))
    check(postgres, case, setup, ran)
    return [Statement(**row) for row in rows]


async def _query(postgres: Server, query: str, *values: str) -> list[Mapping[str, Any]]:
    connection = await asyncpg.connect(postgres.url())
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        rows: list[Mapping[str, Any]] = await connection.fetch(query, *values)
        return rows
    finally:
        await connection.close()


def table(statements: Sequence[Statement], jobs: int) -> str:
    """The statements in Markdown, with what each costs a job."""
    total = sum(statement.ms for statement in statements)
    shown = [statement for statement in statements if statement.ms >= _LEAST_SHARE * total]
    rest = [statement for statement in statements if statement.ms < _LEAST_SHARE * total]
    lines = ["| statement | calls | total ms | µs a job | rows | rows a call | WAL B a job |", "|---" * 7 + "|"]
    lines += [_line(f"`{shortened(statement.query)}`", [statement], jobs) for statement in shown]
    if rest:
        lines.append(_line(f"{len(rest)} others", rest, jobs))
    lines.append(_line("all", statements, jobs))
    return "\n".join(lines)


def _line(name: str, statements: Sequence[Statement], jobs: int) -> str:
    calls, rows = sum(one.calls for one in statements), sum(one.rows for one in statements)
    ms, wal = sum(one.ms for one in statements), sum(one.wal_bytes for one in statements)
    cells = [f"{calls:,}", f"{ms:,.0f}", f"{ms * 1000 / jobs:.2f}", f"{rows:,}", f"{rows / calls:,.1f}", f"{wal / jobs:,.0f}"]
    return f"| {name} | {' | '.join(cells)} |"


def shortened(query: str) -> str:
    """A statement in one line without comments, cut where it gets long, safe between backticks in a table."""
    text = re.sub(r"/\*.*?\*/|--[^\n]*", " ", query, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS].rstrip()} …"


def statements(scale: float) -> list[str]:
    """The statements of ours and River's drains."""
    parts = []
    with server(_SETTINGS) as postgres:
        for case in (case.scaled(scale) for case in CASES if case.mode == "drain"):
            for setup in (setup for setup in case.setups if setup.system in _PROFILED):
                jobs = setup.jobs or case.jobs
                print(f"{case.name}: {setup.label}", flush=True)
                parts += [f"### {setup.label}: {case.name}, {jobs:,}", table(profile(postgres, case, setup), jobs)]
    return parts


def worker(scale: float) -> list[str]:
    """The functions of our worker in its drains."""
    driver = SYSTEMS["rivermill"].command()[0]
    version = subprocess.run([driver, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    parts = [f"{version}, in uvloop."]
    with server() as postgres:
        for case in (case.scaled(scale * _SAMPLED[case.name]) for case in CASES if case.name in _SAMPLED):
            setup = next(setup for setup in case.setups if setup.system == "rivermill")
            print(f"{case.name}: {setup.label}, sampled", flush=True)
            samples, figures = sample(postgres, case, setup)
            parts += [f"### {setup.label}: {case.name}, {setup.jobs or case.jobs:,}", *tables(samples, figures["client_us"])]
    return parts


def main() -> None:
    """Profile the drains and write them into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many jobs")
    parser.add_argument("--only", choices=PARTS, help="one of the two parts")
    options = parser.parse_args()
    chosen = [options.only] if options.only else PARTS
    if "worker" in chosen:
        py_spy()  # before the minutes that the other part takes
    for name in chosen:
        measured = {"statements": statements, "worker": worker}[name](options.scale)
        part = "\n\n".join([f"{datetime.now(UTC):%Y-%m-%d}, `--scale {options.scale:g}`.", *measured])
        _PAGE.write_text(replaced(_PAGE.read_text(encoding="utf-8"), name, part), encoding="utf-8")


if __name__ == "__main__":
    main()
