"""The jobs of this application, and its workers: ``rivermill work library.jobs:workers``."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import asyncpg
import msgspec

from library.scan import DirectoryUnreadableError, Entry, scan_directory
from library.store import known_files, record
from rivermill import Job, JobCancel, Worker, Workers

#: Connections for the application's own tables, beside the three of the worker.
POOL_SIZE = 2


class LibraryScanArgs(msgspec.Struct):
    """Scan one directory of a library.

    Attributes:
        library_id: a row of ``library.library``, which knows the root.
        directory: relative to the root; the root itself is ``""``.
        full_scan: read every file again; otherwise those of unchanged size and time are skipped.
    """

    kind: ClassVar[str] = "library_scan"
    library_id: UUID
    full_scan: bool = False
    directory: str = ""


class LibraryScanWorker(Worker[LibraryScanArgs]):
    """Walks one directory and records its files."""

    timeout = timedelta(minutes=10)

    def __init__(self, db: asyncpg.Pool) -> None:
        self._db = db

    async def work(self, job: Job[LibraryScanArgs]) -> None:
        """Scan a directory; running it twice changes nothing."""
        args = job.args
        root = await self._db.fetchval("SELECT root FROM library.library WHERE id = $1", args.library_id)
        if root is None:
            raise JobCancel(f"library {args.library_id} does not exist")
        directory = _inside(Path(root), args.directory)
        known = {} if args.full_scan else await known_files(self._db, args.library_id, args.directory)
        problem: str | None = None
        entries: list[Entry] = []
        try:
            entries = await asyncio.to_thread(scan_directory, directory, known)
        except DirectoryUnreadableError as error:
            problem = error.problem
        except FileNotFoundError:
            problem = "gone"
        async with self._db.acquire() as connection:
            await record(connection, args.library_id, args.directory, entries, (job.id, job.attempt, problem))


def _inside(root: Path, directory: str) -> Path:
    """The directory's path; one that leads out of the library is refused for good."""
    if directory.startswith("/") or ".." in Path(directory).parts:
        raise JobCancel(f"directory {directory!r} is not inside the library")
    return root / directory


async def workers() -> Workers:
    """The application: its workers, with a pool of their own."""
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=0, max_size=POOL_SIZE, command_timeout=60)
    app = Workers()
    app.add(LibraryScanWorker(pool))
    return app
