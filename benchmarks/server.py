"""The Postgres server that everything in one run shares: durable commits, memory enough for the tables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from devcluster import Postgres

SETTINGS = {"shared_buffers": "2GB", "max_wal_size": "8GB", "fsync": "on", "synchronous_commit": "on"}
_STATEMENT_SECONDS = 600.0


class DatabaseExistsError(Exception):
    """A database has the name of one that is to be made, and was not made here: it may be somebody's."""


class Server:
    """A server, and what it has used so far."""

    def __init__(self, postgres: Postgres, directory: Path) -> None:
        self._postgres = postgres
        self._pid_file = directory / "data" / "postmaster.pid"
        self._databases: set[str] = set()

    def url(self, database: str = "postgres") -> str:
        """The URL of a database."""
        return self._postgres.url(database=database)

    def has(self, database: str) -> bool:
        """Whether a database was made here."""
        return database in self._databases

    async def renew_database(self, name: str, template: str | None = None) -> str:
        """Make a database anew, empty or as a copy of another one that nobody uses; returns its URL.

        Raises:
            DatabaseExistsError: there is one of this name that was not made here.
        """
        copied = f' TEMPLATE "{template}" STRATEGY file_copy' if template else ""
        if self.has(name):
            await self._execute("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')
            self._databases.discard(name)
        try:
            await self._execute("postgres", f'CREATE DATABASE "{name}"{copied}')
        except asyncpg.DuplicateDatabaseError:
            raise DatabaseExistsError(
                f"database {name} is there and was not made by this run: drop it if nobody needs it, or unset DATABASE_URL"
            ) from None
        self._databases.add(name)
        return self.url(name)

    async def drop_databases(self) -> None:
        """Drop all that were made."""
        await self._execute("postgres", *(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in self._databases))
        self._databases.clear()

    def cpu_seconds(self) -> float | None:
        """CPU time of all its processes, those that have ended included; None for a server that was not started here."""
        if not self._pid_file.exists():
            return None
        root = int(self._pid_file.read_text().split()[0])
        while True:  # until no process has ended meanwhile: its time goes to the root
            children = _children(root)
            try:
                ticks = sum(sum(_ticks(child, with_ended=False)) for child in children)
            except (FileNotFoundError, ProcessLookupError):
                continue
            ticks += sum(_ticks(root, with_ended=True))
            if children <= _children(root):
                return ticks / os.sysconf("SC_CLK_TCK")

    async def wal_bytes(self) -> int:
        """Bytes of write-ahead log so far."""
        connection = await asyncpg.connect(self.url())
        try:
            written: int = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
            return written
        finally:
            await connection.close()

    async def settings(self) -> dict[str, str]:
        """Its version, and every setting that is not as it comes."""
        connection = await asyncpg.connect(self.url())
        try:
            changed = await connection.fetch(
                "SELECT name, current_setting(name) AS value FROM pg_settings "
                "WHERE name = 'server_version' OR source NOT IN ('default', 'override', 'client', 'session') ORDER BY name"
            )
            return {row["name"]: row["value"] for row in changed}
        finally:
            await connection.close()

    async def settle(self, database: str) -> None:
        """Fresh statistics and no checkpoint to come, the same for everybody."""
        await self._execute(database, "VACUUM ANALYZE", "CHECKPOINT")

    async def _execute(self, database: str, *statements: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        try:
            for statement in statements:
                await connection.execute(statement, timeout=_STATEMENT_SECONDS)
        finally:
            await connection.close()


def _children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _ticks(pid: int, *, with_ended: bool) -> list[int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(value) for value in fields[11 : 15 if with_ended else 13]]


@contextmanager
def server(more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of its own, with more settings where they are given, or the one of ``DATABASE_URL``."""
    settings = SETTINGS | dict(more or {})
    with TemporaryDirectory() as directory, Postgres(Path(directory), settings=settings) as postgres:
        made = Server(postgres, Path(directory))
        try:
            yield made
        finally:
            asyncio.run(made.drop_databases())
