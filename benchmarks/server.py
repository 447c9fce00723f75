"""The Postgres server that everything in one run shares: durable commits, memory enough for the tables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from devcluster import Postgres

SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "8GB", "fsync": "on", "synchronous_commit": "on"}


@contextmanager
def server() -> Iterator[Postgres]:
    """A server of its own, or the one of ``DATABASE_URL``."""
    with TemporaryDirectory() as directory:
        postgres = Postgres(Path(directory), settings=SETTINGS)
        with postgres:
            yield postgres


def migrate(url: str) -> None:
    """Make River's tables and ours."""
    command = [str(Path(sys.executable).with_name("rivermill")), "migrate", "up"]
    subprocess.run(command, env=os.environ | {"DATABASE_URL": url}, check=True, capture_output=True)


async def refill(url: str, jobs: int) -> None:
    """Empty the job table and fill it with jobs that are due, with fresh statistics and no checkpoint to come."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("TRUNCATE river_job")
        await connection.execute(
            "INSERT INTO river_job (kind, args, scheduled_at) "
            "SELECT 'benchmark', jsonb_build_object('num', n), now() - interval '1 hour' + n * interval '1 microsecond' "
            "FROM generate_series(1, $1::int) AS n",
            jobs,
        )
        await connection.execute("VACUUM ANALYZE river_job")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def check_all_completed(url: str, jobs: int) -> None:
    """Raise AssertionError unless every job was completed at its first attempt."""
    connection = await asyncpg.connect(url)
    try:
        good = await connection.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed' AND attempt = 1")
        assert good == jobs, f"{jobs - good} of {jobs} jobs were lost or run twice"
    finally:
        await connection.close()
