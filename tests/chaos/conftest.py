"""Two real worker processes on a real Postgres, and what their jobs have written down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from devcluster import Postgres, temporary_postgres
from rivermill import Client
from tests.chaos.app import Interval

ROOT = Path(__file__).resolve().parents[2]
JOBS = 300
SLOTS = 10
#: A silent client is dead after 30 s; then the leader's next round, and the retry, are due.
SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a job; ``ended`` is None if its process could not write it any more."""

    job: int
    attempt: int
    pid: int
    started: float
    ended: float | None


@dataclass
class Mill:
    """The database, its worker processes and their notes."""

    postgres: Postgres
    processes: list[subprocess.Popen[bytes]]
    notes: Path

    async def value(self, statement: str, *arguments: Any) -> Any:
        connection = await asyncpg.connect(self.postgres.url())
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def enqueue(self, count: int = JOBS, seconds: float = 0.5) -> None:
        async with Client(self.postgres.url()) as client:
            await client.insert_many([Interval(seconds) for _ in range(count)])

    def runs(self) -> list[Run]:
        lines = [json.loads(line) for line in self.notes.read_text(encoding="ascii").splitlines()]
        ends = {(x["job"], x["attempt"], x["pid"]): x["time"] for x in lines if x["event"] == "ended"}
        starts = [(x["job"], x["attempt"], x["pid"], x["time"]) for x in lines if x["event"] == "started"]
        return [Run(job, attempt, pid, at, ends.get((job, attempt, pid))) for job, attempt, pid, at in starts]

    async def until(self, check: Callable[[], Any], seconds: float = SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < deadline, f"{check} never held"
            await asyncio.sleep(0.05)

    async def until_no(self, count: str, *arguments: Any) -> None:
        """Wait until a statement that counts answers 0."""
        deadline = time.monotonic() + SECONDS
        while await self.value(count, *arguments):
            assert time.monotonic() < deadline, count
            await asyncio.sleep(0.05)

    async def finish(self) -> None:
        """Wait until no job is left, and see that every one was completed."""
        deadline = time.monotonic() + SECONDS
        while await self.value("SELECT count(*) FROM river_job WHERE finalized_at IS NULL"):
            assert time.monotonic() < deadline, await self.value(
                "SELECT json_object_agg(state, n) FROM (SELECT state, count(*) AS n FROM river_job GROUP BY 1) AS s"
            )
            await asyncio.sleep(0.2)
        assert await self.value("SELECT count(*) FROM river_job WHERE state <> 'completed'") == 0

    def twice_at_once(self, dead: dict[int, float] | None = None) -> list[tuple[Run, Run]]:
        """Pairs of runs of one job that overlap; a run without an end ended with its process.

        Args:
            dead: when processes were killed, by pid.
        """
        by_job: dict[int, list[Run]] = {}
        for run in sorted(self.runs(), key=lambda run: run.started):
            by_job.setdefault(run.job, []).append(run)
        now, dead = time.time(), dead or {}
        pairs = [pair for runs in by_job.values() for pair in pairwise(runs)]
        return [(a, b) for a, b in pairs if b.started < (a.ended or dead.get(a.pid, now))]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with temporary_postgres() as server:
        yield server


@pytest.fixture
def mill(postgres: Postgres, tmp_path: Path) -> Iterator[Mill]:
    notes = tmp_path / "intervals"
    notes.touch()
    env = os.environ | {
        "DATABASE_URL": postgres.url(),
        "RIVER_QUEUES": f"default:{SLOTS}",
        "INTERVALS": str(notes),
    }
    env.pop("RIVER_HTTP_PORT", None)
    rivermill = [sys.executable, "-m", "coverage", "run", "-m", "rivermill"]
    subprocess.run([*rivermill, "migrate", "up"], env=env, check=True, capture_output=True, cwd=ROOT, timeout=60)
    processes = []
    for number in range(2):
        with (tmp_path / f"worker{number}.log").open("wb") as log:
            command = [*rivermill, "work", "tests.chaos.app:workers"]
            processes.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=ROOT))
    yield Mill(postgres, processes, notes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    try:
        for process in processes:
            process.wait(60)
    finally:
        for process in processes:
            process.kill()
            process.wait()
