"""``python -m benchmarks.gates``: the speed gates of River's conformance suite, its ``TestPerformance/Throughput``.

As in the suite each mode is tried up to three times, and passes if one try is within both bounds, those that River has for its
client in Rust. A try is the median of three runs of 200 jobs for each implementation, in turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.server import Server, server
from rivermill.db import Connection
from rivermill_operator.simulate.outcome import percentile
from tests.interop.peers import Peer, command_of

BUILD = Path(__file__).resolve().parent.parent / "build"
OURS, REFERENCE = "python", "go"
_JOBS = 200
_TRIES = 3
_RUNS = 3
_WARM_UP = 20
_JOB_MS = 10
_SECONDS = 120.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Gate:
    """One mode and its bounds.

    Attributes:
        throughput: least ratio of our jobs a second to River's.
        p95: greatest ratio of our 95th percentile to River's.
        workers: slots of the client; 0 for none.
    """

    mode: str
    throughput: float
    p95: float
    workers: int = 0


GATES = (Gate("enqueue", 0.4, 2.0), Gate("worker", 0.8, 1.25, 32), Gate("mixed", 0.8, 1.25, 128))


@dataclass(frozen=True)
class Figures:
    """What one run, or the median of several, has shown."""

    per_second: float
    p95_ms: float


class GateError(Exception):
    """Jobs were lost or run twice; figures would mean nothing."""


def median(runs: Sequence[Figures]) -> Figures:
    """Each figure's median."""
    return Figures(statistics.median(r.per_second for r in runs), statistics.median(r.p95_ms for r in runs))


def outside(gate: Gate, ours: Figures, reference: Figures) -> list[str]:
    """The bounds that were missed, in words."""
    found = []
    if ours.per_second < gate.throughput * reference.per_second:
        found.append(f"{ours.per_second:.0f} jobs/s are less than {gate.throughput} of River's {reference.per_second:.0f}")
    if ours.p95_ms > gate.p95 * reference.p95_ms:
        found.append(f"p95 {ours.p95_ms:.1f} ms is more than {gate.p95} times River's {reference.p95_ms:.1f} ms")
    return found


async def _run(peer: Peer, connection: Connection, gate: Gate, jobs: int) -> Figures:
    await connection.execute("TRUNCATE river_job")
    if gate.mode == "worker":
        await _insert(peer, jobs)
    started = time.monotonic()
    if gate.workers:
        await peer.call("start", client_id=f"{peer.name}_gate", max_workers=gate.workers)
    calls = await _insert(peer, jobs) if gate.mode != "worker" else []
    if not gate.workers:
        return Figures(jobs / (time.monotonic() - started), percentile(calls, 0.95))
    times = await _ended(connection, jobs, since="attempted_at" if gate.mode == "worker" else "created_at")
    await peer.call("stop")
    return Figures(jobs / (time.monotonic() - started), percentile(times, 0.95))


async def _insert(peer: Peer, jobs: int) -> list[float]:
    """One request for each job; returns how long each took, in ms."""
    calls = []
    for number in range(jobs):
        started = time.monotonic()
        await peer.call("insert", jobs=[{"behavior": "sleep", "duration_ms": _JOB_MS, "message": f"job {number}"}])
        calls.append((time.monotonic() - started) * 1e3)
    return calls


async def _ended(connection: Connection, jobs: int, *, since: str) -> list[float]:
    """How long each job took from one of its times to its end, in ms, once all have ended."""
    deadline = time.monotonic() + _SECONDS
    while await connection.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed'") < jobs:
        if time.monotonic() > deadline:
            raise GateError(f"{jobs} jobs have not ended within {_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
    rows = await connection.fetch(f"SELECT attempt, finalized_at, {since} AS since FROM river_job")
    if any(row["attempt"] != 1 for row in rows) or len(rows) != jobs:
        raise GateError("jobs were lost or run twice")
    return [(row["finalized_at"] - row["since"]).total_seconds() * 1e3 for row in rows]


async def _try(peers: Sequence[Peer], connection: Connection, gate: Gate) -> dict[str, Figures]:
    runs: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for _ in range(_RUNS):
        for peer in peers:
            runs[peer.name].append(await _run(peer, connection, gate, _JOBS))
    return {name: median(figures) for name, figures in runs.items()}


async def _measure(peers: Sequence[Peer], connection: Connection, gate: Gate) -> dict[str, Any]:
    for peer in peers:
        await _run(peer, connection, gate, _WARM_UP)
    tries: list[dict[str, Any]] = []
    while len(tries) < _TRIES and (not tries or tries[-1]["outside"]):
        found = await _try(peers, connection, gate)
        missed = outside(gate, found[OURS], found[REFERENCE])
        print(f"{gate.mode}: {found[OURS]}, River for Go {found[REFERENCE]}", *missed, sep="; ", flush=True)
        tries.append({"ours": asdict(found[OURS]), "river": asdict(found[REFERENCE]), "outside": missed})
    return {"bounds": asdict(gate), "tries": tries, "passed": not tries[-1]["outside"]}


async def _all(postgres: Server) -> dict[str, Any]:
    url = await postgres.renew_database(f"rivermill_gates_{os.getpid()}")
    peers = [Peer(name, command_of(name), url, "public") for name in (OURS, REFERENCE)]
    connection = await asyncpg.connect(url)
    try:
        for peer in peers:
            await peer.open()
        await peers[-1].call("migrate")
        return {gate.mode: await _measure(peers, connection, gate) for gate in GATES}
    finally:
        await connection.close()
        for peer in peers:
            await peer.close()


def main() -> int:
    """Run and write ``build/gates.json``; 1 if a gate was missed."""
    with server() as postgres:
        modes = asyncio.run(_all(postgres))
    BUILD.mkdir(exist_ok=True)
    head = {"at": datetime.now().astimezone().isoformat(timespec="seconds"), "jobs": _JOBS, "job_ms": _JOB_MS}
    (BUILD / "gates.json").write_text(json.dumps(head | {"modes": modes}, indent=2) + "\n", encoding="utf-8")
    for mode, figures in modes.items():
        print(mode, "passed" if figures["passed"] else "MISSED", sep=": ")
    return 0 if all(figures["passed"] for figures in modes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
