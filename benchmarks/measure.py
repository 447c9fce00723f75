"""One run of one system: its tables made and filled anew, its driver watched, its jobs counted afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.cases import Case, Setup
from benchmarks.drivers.common import WATCHER
from benchmarks.server import Server
from benchmarks.systems import SYSTEMS
from rivermill_operator.simulate.outcome import percentile

#: Of this invocation alone, since a server that is given may have databases of others.
DATABASE = f"rivermill_bench_{os.getpid()}"
Figures = dict[str, Any]

_SECONDS = 600.0
#: What a driver needs beside the time of its jobs.
_DRIVER_SECONDS = 60.0
#: No system that is measured works fewer jobs a second than this.
_LEAST_PER_SECOND = 500
_LOOK_SECONDS = 0.2
#: Figures of one run are lists of times in these; their percentiles are what is kept.
_TIMES = ("call_ms", "commit_ms")
_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = $1 AND backend_type = 'client backend' AND application_name NOT IN ($2, $3)"
)
_HARNESS = "benchmark harness"


class BenchmarkError(Exception):
    """A run failed, or jobs were lost or run twice; its figures would mean nothing."""


def measure(server: Server, case: Case, setup: Setup) -> Figures:
    """One run, checked.

    Raises:
        BenchmarkError: it failed, or the jobs in the database are not what they should be.
    """
    make_ready(server, case, setup)
    wal, before = asyncio.run(server.wal_bytes()), server.cpu_seconds()
    result = drive(server, case, setup)
    jobs, after = setup.jobs or case.jobs, server.cpu_seconds()
    if before is not None and after is not None:
        result["server_us"] = (after - before) / jobs * 1e6
    result["wal_bytes"] = (asyncio.run(server.wal_bytes()) - wal) / jobs
    check(server, case, setup, result.pop("ran"))
    return condensed(result)


def make_ready(server: Server, case: Case, setup: Setup) -> None:
    """Make the database anew, with the jobs in it that there are before the run."""
    home = _home(setup)
    if setup.history:
        template = _template(server, setup)
        url = asyncio.run(server.renew_database(DATABASE, template))
    else:
        url = asyncio.run(server.renew_database(DATABASE))
        _call(home, "prepare", url, *setup.made)
    if case.filled:
        _call(home, "fill", url, f"--jobs={setup.jobs or case.jobs}", *setup.made)
    asyncio.run(server.settle(DATABASE))


def _template(server: Server, setup: Setup) -> str:
    """The database with the finished jobs, made when it is first asked for: copying it takes seconds, making it minutes."""
    key = repr((setup.system, setup.history, setup.made))
    name = f"{DATABASE}_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not server.has(name):
        url = asyncio.run(server.renew_database(name))
        for mode in ("prepare", "history"):
            _call(_home(setup), mode, url, f"--jobs={setup.history}", *setup.made)
        asyncio.run(server.settle(name))
    return name


def drive(server: Server, case: Case, setup: Setup) -> Figures:
    """Run the driver, and count the connections that the system has at most.

    Raises:
        BenchmarkError: it failed or took too long.
    """
    jobs = setup.jobs or case.jobs
    command = [*SYSTEMS[setup.system].command(), case.mode, f"--url={server.url(DATABASE)}", f"--jobs={jobs}"]
    command += [*case.flags, *setup.flags]
    deadline, most = time.monotonic() + _DRIVER_SECONDS + jobs / _LEAST_PER_SECOND, 0
    with asyncio.Runner() as runner:
        watcher = runner.run(asyncpg.connect(server.url(), server_settings={"application_name": _HARNESS}))
        held = runner.run(_old_snapshot(server.url(DATABASE))) if setup.old_snapshot else None
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    most = max(most, runner.run(watcher.fetchval(_CONNECTIONS, DATABASE, WATCHER, _HARNESS)))
                    if time.monotonic() > deadline:
                        raise BenchmarkError(f"{case.name}, {setup.label}: did not end in time") from None
        finally:
            process.kill()
            process.wait()
            for connection in filter(None, (watcher, held)):
                runner.run(connection.close())
    return _result(command, process.returncode, out, err) | {"connections": most}


async def _old_snapshot(url: str) -> Any:
    connection = await asyncpg.connect(url, server_settings={"application_name": _HARNESS})
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await connection.execute("SELECT FROM pg_class LIMIT 1")
    return connection


def check(server: Server, case: Case, setup: Setup, ran: int) -> None:
    """See that every job is where it should be, and that each ran once.

    Raises:
        BenchmarkError: that is not so.
    """
    jobs = setup.jobs or case.jobs
    counts = _call(_home(setup), "check", server.url(DATABASE), f"--jobs={jobs}", *setup.made)
    waiting, done = (jobs, 0) if case.mode == "insert" else (0, jobs)
    wanted = {"waiting": waiting, "done": done, "other": 0}
    found = {name: counts[name] for name in wanted}
    if ran != jobs or found != wanted:
        raise BenchmarkError(f"{case.name}, {setup.label}: {ran} bodies ran or inserts were made for {jobs} jobs, now {found}")


def condensed(result: Figures) -> Figures:
    """The same with percentiles for lists of times, and with the growth of memory for its samples, which are kept."""
    figures = {name: value for name, value in result.items() if name not in _TIMES}
    for name in _TIMES:
        for percent in (50, 99) if name in result else ():
            figures[f"{name.removesuffix('_ms')}_p{percent}_ms"] = percentile(result[name], percent / 100)
    if "memory" in result:
        figures["first_quarter_mb"], figures["last_quarter_mb"] = quarters(result["memory"])
        figures["growth_mb"] = figures["last_quarter_mb"] - figures["first_quarter_mb"]
    return figures


def quarters(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The median memory in the first and in the last quarter of the jobs.

    Args:
        samples: jobs that had run and memory, in the order of time.
    """
    jobs = samples[-1][0]
    first = [memory for ran, memory in samples if ran <= jobs / 4]
    last = [memory for ran, memory in samples if ran >= 3 * jobs / 4]
    return statistics.median(first), statistics.median(last)


def _home(setup: Setup) -> list[str]:
    system = SYSTEMS[setup.system]
    return SYSTEMS[system.home or system.name].command()


def _call(command: Sequence[str], mode: str, url: str, *flags: str) -> Figures:
    full = [*command, mode, f"--url={url}", *flags]
    try:
        done = subprocess.run(full, check=False, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{_shown(full)} did not end within {_SECONDS:.0f} s") from None
    return _result(full, done.returncode, done.stdout, done.stderr)


def _result(command: Sequence[str], code: int, out: str, err: str) -> Figures:
    if code != 0:
        raise BenchmarkError(f"{_shown(command)} ended with {code}: {err[-2000:]}")
    try:
        figures: Figures = json.loads(out)
    except json.JSONDecodeError as error:
        raise BenchmarkError(f"{_shown(command)} printed no figures: {error}") from None
    return figures


def _shown(command: Sequence[str]) -> str:
    """A driver's command without the database's password, and without where it is on this computer."""
    return " ".join(Path(part).name if "/" in part else part for part in command if not part.startswith("--url="))
