"""The Postgres server that everything in one run shares: durable commits, memory enough for the tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from devcluster import Postgres

SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "8GB", "fsync": "on", "synchronous_commit": "on"}


class Server:
    """A server, and what it has used so far."""

    def __init__(self, postgres: Postgres, directory: Path) -> None:
        self._postgres = postgres
        self._pid_file = directory / "data" / "postmaster.pid"

    def url(self, database: str = "postgres") -> str:
        """The URL of a database."""
        return self._postgres.url(database=database)

    async def renew_database(self, name: str) -> str:
        """Make a database anew; returns its URL."""
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.url(name)

    def cpu_seconds(self) -> float:
        """CPU time of all its processes, those that have ended included; 0 for a server that is not ours."""
        if not self._pid_file.exists():
            return 0.0
        root = int(self._pid_file.read_text().split()[0])
        ticks = sum(_ticks(root, with_ended=True))
        for child in Path(f"/proc/{root}/task/{root}/children").read_text().split():
            try:
                ticks += sum(_ticks(int(child), with_ended=False))
            except FileNotFoundError:
                continue  # ended meanwhile, and counted with the root next time
        return ticks / os.sysconf("SC_CLK_TCK")

    async def wal_bytes(self) -> int:
        """Bytes of write-ahead log so far."""
        connection = await asyncpg.connect(self.url())
        try:
            written: int = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
            return written
        finally:
            await connection.close()

    async def settle(self, database: str) -> None:
        """Fresh statistics and no checkpoint to come, the same for everybody."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()


def _ticks(pid: int, *, with_ended: bool) -> list[int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(value) for value in fields[11 : 15 if with_ended else 13]]


@contextmanager
def server() -> Iterator[Server]:
    """A server of its own, or the one of ``DATABASE_URL``."""
    with TemporaryDirectory() as directory, Postgres(Path(directory), settings=SETTINGS) as postgres:
        yield Server(postgres, Path(directory))
