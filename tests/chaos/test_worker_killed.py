"""Real worker processes on a real Postgres, killed under load."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from devcluster import Postgres
from rivermill import Client
from tests.chaos.app import Interval

ROOT = Path(__file__).resolve().parents[2]
JOBS = 300
#: A silent client is dead after 30 s; then the leader's next round, and the retry, are due.
SECONDS = 90.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Postgres]:
    with Postgres(tmp_path) as server:
        yield server


@pytest.fixture
def workers(database: Postgres, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    env = os.environ | {"DATABASE_URL": database.url(), "RIVER_QUEUES": "default:10"}
    env.pop("RIVER_HTTP_PORT", None)
    rivermill = [sys.executable, "-m", "coverage", "run", "-m", "rivermill"]
    subprocess.run([*rivermill, "migrate", "up"], env=env, check=True, capture_output=True, cwd=ROOT, timeout=60)
    started = []
    for number in range(2):
        with (tmp_path / f"worker{number}.log").open("wb") as log:
            command = [*rivermill, "work", "tests.chaos.app:workers"]
            started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=ROOT))
    yield started
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(60)


async def test_jobs_of_a_killed_worker_are_rescued_and_none_runs_twice_at_once(
    database: Postgres, workers: list[subprocess.Popen[bytes]]
) -> None:
    connection = await asyncpg.connect(database.url())
    try:
        await connection.execute(
            "CREATE TABLE interval (id bigserial, job_id bigint, started_at timestamptz, ended_at timestamptz)"
        )
        async with Client(database.url()) as client:
            await client.insert_many([Interval(0.5) for _ in range(JOBS)])
        deadline = time.monotonic() + SECONDS
        while await connection.fetchval("SELECT count(*) FROM interval") < 40:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        killed_at = await connection.fetchval("SELECT clock_timestamp()")
        while await connection.fetchval("SELECT count(*) FROM river_job WHERE state <> 'completed'"):
            assert time.monotonic() < deadline, await connection.fetch("SELECT state, count(*) FROM river_job GROUP BY 1")
            await asyncio.sleep(0.2)
        assert await connection.fetchval("SELECT count(DISTINCT job_id) FROM interval") == JOBS
        rescued = await connection.fetchval("SELECT count(*) FROM river_job WHERE metadata ? 'river:rescue_count'")
        assert 0 < rescued <= 10
        # A run that the kill cut off ended, at the latest, with its process.
        overlaps = await connection.fetchval(
            "SELECT count(*) FROM interval AS a JOIN interval AS b ON a.job_id = b.job_id AND a.id < b.id "
            "WHERE b.started_at < coalesce(a.ended_at, $1)",
            killed_at,
        )
        assert overlaps == 0
    finally:
        await connection.close()
