"""The jobs of this application, and its workers: ``rivermill work library.jobs:workers``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

import asyncpg
import msgspec

from library.paths import decode_directory
from library.scan import Scan, scan_directory
from library.store import known_files, record
from rivermill import Job, JobCancel, Worker, Workers

#: Connections for the application's own tables, beside the three of the worker.
POOL_SIZE = 2


class LibraryScanArgs(msgspec.Struct):
    """Scan one directory of a library.

    Attributes:
        library_id: a row of ``library.library``, which knows the root.
        directory: relative to the root, escaped as ``library.paths`` says; the root itself is ``""``.
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
        try:
            directory = decode_directory(args.directory)
        except ValueError as error:
            raise JobCancel(str(error)) from error
        root = await self._db.fetchval("SELECT root FROM library.library WHERE id = $1", args.library_id)
        if root is None:
            raise JobCancel(f"library {args.library_id} does not exist")
        known = {} if args.full_scan else await known_files(self._db, args.library_id, directory)
        found = await _in_thread(lambda stop: scan_directory(root, directory, known, stop))
        async with self._db.acquire() as connection:
            await record(connection, args.library_id, directory, found, (job.id, job.attempt))


async def _in_thread(scan: Callable[[threading.Event], Scan]) -> Scan:
    """Run a scan in a thread. When the job is cancelled, times out or its client stops, the scan is told and waited for."""
    stop = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(scan, stop))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.gather(running, return_exceptions=True)
        raise


async def workers() -> Workers:
    """The application: its workers, with a pool of their own."""
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=0, max_size=POOL_SIZE, command_timeout=60)
    app = Workers()
    app.add(LibraryScanWorker(pool))
    return app
