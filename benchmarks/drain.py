"""How fast one process drains no-op jobs: inserted first, then timed until the last is completed."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import asyncpg

from devcluster import Postgres
from rivermill import Client, Job, Workers

ROOT = Path(__file__).resolve().parent.parent
JOBS, RUNS, SLOTS, BATCH = 50_000, 3, 1_000, 5_000


@dataclass
class Noop:
    """A job that does nothing."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0


def _workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Noop]) -> None:
        """Nothing."""

    return workers


async def _run(dsn: str) -> float:
    connection = await asyncpg.connect(dsn)
    await connection.execute("TRUNCATE river_job")
    async with Client(dsn) as inserter:
        for _ in range(JOBS // BATCH):
            await inserter.insert_many([Noop()] * BATCH)
    client = Client(dsn, workers=_workers(), queues={"default": SLOTS}, fetch_cooldown=None)
    started = time.monotonic()
    await client.start()
    while await connection.fetchval("SELECT count(*) FROM river_job WHERE state <> 'completed'"):
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - started
    await client.stop()
    await connection.close()
    return JOBS / seconds


def main() -> int:
    """Run and write ``build/drain.json``."""
    with tempfile.TemporaryDirectory() as directory, Postgres(Path(directory)) as postgres:
        command = [str(Path(sys.executable).with_name("rivermill")), "migrate", "up"]
        subprocess.run(command, env=os.environ | {"DATABASE_URL": postgres.url()}, check=True, capture_output=True)
        rates = [asyncio.run(_run(postgres.url())) for _ in range(RUNS)]
    figures = {
        "jobs": JOBS,
        "slots": SLOTS,
        "runs": [round(r) for r in rates],
        "median_per_second": round(statistics.median(rates)),
    }
    _write(figures)
    return 0


def _write(figures: dict[str, object]) -> None:
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "drain.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print("drain:", figures)


if __name__ == "__main__":
    sys.exit(main())
