"""``build/bench.json``: every invocation's run, one after the other. Ratios are made within a run, never across."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.systems import SYSTEMS
from benchmarks.versions import versions

BUILD = Path(__file__).resolve().parent.parent / "build"
REPORT = BUILD / "bench.json"
Run = dict[str, Any]
#: Of what a run is written down as; raised when that changes.
_FORM = 2


def head(what: str, cases: Sequence[Case], rounds: int, server: Mapping[str, str], left_out: Mapping[str, str]) -> Run:
    """What a run is told by: when, of what, with what, on what.

    Args:
        what: the set that the cases are of.
        cases: what is run.
        rounds: how often.
        server: settings of the server that are not as they come.
        left_out: systems that could not be had, and why.
    """
    systems = systems_of(cases)
    return {
        "form": _FORM,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "what": what,
        "arguments": sys.argv[1:],
        "commit": _commit(),
        "rounds": rounds,
        "machine": {
            "cores": os.cpu_count(),
            "processor": _processor(),
            "harness_python": platform.python_version(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "server": server,
        "systems": {name: SYSTEMS[name].release for name in systems},
        "runs_in": {name: versions(SYSTEMS[name].command()) for name in systems},
        "left_out": dict(left_out),
    }


def systems_of(cases: Sequence[Case]) -> list[str]:
    """The names of all that is measured."""
    return list(dict.fromkeys(setup.system for case in cases for setup in case.setups))


def scaled(run: Run) -> bool:
    """Whether a run was asked for with other numbers of jobs, so that no aim is held against it."""
    return any(word.startswith("--scale") for word in run["arguments"])


def read() -> list[Run]:
    """All runs, the oldest first.

    Raises:
        ValueError: some are of an older form.
    """
    if not REPORT.exists():
        return []
    runs: list[Run] = json.loads(REPORT.read_text(encoding="utf-8")).get("runs", [])
    if any(run.get("form") != _FORM for run in runs):
        raise ValueError(f"{REPORT} has runs that an older version has written: delete it, or put it elsewhere")
    return runs


def told(run: Run) -> str:
    """What a run was of and on, in Markdown: when, how, on what, and what each driver ran in."""
    command, machine = " ".join(("python -m benchmarks", *run["arguments"])), run["machine"]
    rounds = f"{run['rounds']} round{'s' if run['rounds'] != 1 else ''}"
    computer = f"{machine['cores']} cores of {machine['processor']}, load {machine['load_average'][0]} at the start"
    when = f"{run['started'][:16].replace('T', ' ')} UTC, `{command}`, {rounds}, commit {run['commit']}"
    alike: dict[str, list[str]] = {}
    for system, found in run["runs_in"].items():
        alike.setdefault(", ".join(f"{name} {version}" for name, version in found.items()), []).append(system)
    drivers = "; ".join(f"{', '.join(systems)}: {found}" for found, systems in alike.items())
    left_out = "".join(f" Left out: {why}." for why in run["left_out"].values())
    return f"{when}; {computer}; PostgreSQL {run['server']['server_version']}. {drivers}.{left_out}"


def write(run: Run) -> None:
    """Add a run, or put it in the place of what it was after fewer rounds."""
    BUILD.mkdir(exist_ok=True)
    runs = [other for other in read() if other["started"] != run["started"]]
    partial = REPORT.with_suffix(".partial")
    partial.write_text(json.dumps({"runs": [*runs, run]}, indent=2) + "\n", encoding="utf-8")
    partial.rename(REPORT)


def cases_of(runs: Sequence[Run]) -> Iterator[tuple[str, Run, dict[str, Any]]]:
    """Every case of every run, by its name and with its run; the cases in the order of their first appearance."""
    for name in dict.fromkeys(name for run in runs for name in run["cases"]):
        for run in runs:
            if name in run["cases"]:
                yield name, run, run["cases"][name]


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, cwd=BUILD.parent, check=False, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
