"""What the clients have written down about their attempts, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.interop.mixed.workload import CANCELLED_RUNNING, CASES, case_of, metadata_of

_FOR_EVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job, in nanoseconds since 1970; ``ended`` is None if its process was killed in it."""

    job: int
    attempt: int
    client: str
    started: int
    ended: int | None


def read_runs(folder: Path, killed: Container[str]) -> dict[int, list[Run]]:
    """All runs by job, in the order of their starts.

    Args:
        folder: a file of lines for each client.
        killed: the clients that were killed; the kernel may cut off what such a one was writing.
    """
    runs: dict[int, list[Run]] = defaultdict(list)
    for file in folder.iterdir():
        open_runs: dict[tuple[int, int], int] = {}
        lines = file.read_text(encoding="ascii").splitlines(keepends=True)
        if file.stem in killed and lines and not lines[-1].endswith("\n"):
            lines.pop()
        for line in map(json.loads, lines):
            key = (line["job"], line["attempt"])
            if line["event"] == "started":
                assert key not in open_runs, f"{line['client']} runs job {key[0]} twice at once"
                open_runs[key] = line["at_ns"]
            else:
                runs[key[0]].append(Run(*key, line["client"], open_runs.pop(key), line["at_ns"]))
        for key, started in open_runs.items():
            runs[key[0]].append(Run(*key, file.stem, started, None))
    for of_job in runs.values():
        of_job.sort(key=lambda run: run.started)
    return runs


def twice_at_once(runs: Mapping[int, list[Run]], killed: Mapping[str, int]) -> list[tuple[Run, Run]]:
    """Pairs of runs of one job that overlap; one without an end ended with its process.

    Args:
        killed: when clients were killed, in nanoseconds since 1970.
    """
    pairs = (pair for of_job in runs.values() for pair in pairwise(of_job))
    return [(a, b) for a, b in pairs if b.started < (a.ended or killed.get(a.client, _FOR_EVER))]


def faults(rows: Iterable[dict[str, Any]], runs: Mapping[int, list[Run]], killed: Iterable[str]) -> list[str]:
    """What is wrong with rows: another state than its sort ends in, or claims that came to another number of runs.

    A claim may be given back before its job has begun; it counts as no attempt then. If the job was cancelled meanwhile, that
    claim ends it, and counts.
    """
    found, dead = [], set(killed)
    for row in rows:
        name = case_of(row)
        case, claims = CASES[name], Counter(row["attempted_by"] or ())
        ran = Counter(run.client for run in runs.get(row["id"], ()))
        counted = row["attempt"] + metadata_of(row).get("snoozes", 0)
        missing = sum(number for client, number in (claims - ran).items() if client not in dead)
        said = f"job {row['id']} ({name}): "
        if row["state"] != case.state:
            found.append(f"{said}{row['state']} instead of {case.state}")
        returned = claims.total() - counted + _ended_unbegun(row, runs.get(row["id"], ()), dead)
        if ran - claims or missing > returned:
            found.append(f"{said}claimed by {dict(claims)}, run by {dict(ran)}, {counted} attempts")
        if not dead & set(claims) and case.attempts not in (None, counted):
            found.append(f"{said}{counted} attempts instead of {case.attempts}")
    return found


def _ended_unbegun(row: dict[str, Any], runs: Iterable[Run], dead: set[str]) -> bool:
    """Whether a client of ours was told to cancel a job that it had claimed and that waited for a slot there.

    River for Go claims no more than it has slots for, so it begins every job, with its context done if that was cancelled.
    """
    clients = row["attempted_by"] or ()
    if case_of(row) != CANCELLED_RUNNING or row["state"] != "cancelled" or not clients:
        return False
    last: str = clients[-1]
    ours = last.startswith("python_") and last not in dead
    return ours and not any((run.client, run.attempt) == (last, row["attempt"]) for run in runs)
