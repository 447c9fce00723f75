"""The example application on a real database and a real directory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from library import jobs
from library.jobs import LibraryScanArgs, LibraryScanWorker
from library.paths import decode_path, encode_path
from library.scan import LibraryUnavailableError, ScanStoppedError
from library.store import create_tables
from rivermill import Job, JobCancel, JobRow, JobState
from rivermill.args import decode_args, encode_args
from rivermill.job import ArgsT


def job(args: ArgsT, number: int = 1) -> Job[ArgsT]:
    now: Any = None
    row = JobRow(number, "library_scan", "default", JobState.RUNNING, {}, 1, 25, 1, now, now)
    return Job(args, row)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool:
        async with pool.acquire() as connection:
            await create_tables(connection)
        yield pool


@pytest.fixture
async def library(pool: Any, tmp_path: Path) -> uuid.UUID:
    number = uuid.uuid4()
    await pool.execute("INSERT INTO library.library (id, root) VALUES ($1, $2)", number, str(tmp_path))
    return number


async def files(pool: Any, library: uuid.UUID) -> dict[bytes, Any]:
    rows = await pool.fetch("SELECT * FROM library.file WHERE library_id = $1", library)
    return {decode_path(row["name"]): row for row in rows}


async def test_a_directory_is_recorded_as_it_is(pool: Any, library: uuid.UUID, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / os.fsdecode(b"odd \xff")).write_bytes(b"x")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep").write_text("other job's work")
    await LibraryScanWorker(pool).work(job(LibraryScanArgs(library)))
    found = await files(pool, library)
    assert set(found) == {b"a.txt", b"odd \xff", b"link", b"pipe"}
    assert found[b"a.txt"]["digest"] == hashlib.blake2b(b"hello", digest_size=32).digest()
    assert found[b"a.txt"]["mtime_ns"] == (tmp_path / "a.txt").stat().st_mtime_ns
    assert [found[name]["type"] for name in (b"a.txt", b"link", b"pipe")] == ["text/plain", "symlink", "special"]


async def test_unchanged_files_are_skipped_unless_all_are_wanted(pool: Any, library: uuid.UUID, tmp_path: Path) -> None:
    worker, file = LibraryScanWorker(pool), tmp_path / "a"
    file.write_text("one")
    await worker.work(job(LibraryScanArgs(library), 1))
    info = file.stat()
    file.write_text("two")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))  # same size and time, other content
    await worker.work(job(LibraryScanArgs(library), 2))
    assert (await files(pool, library))[b"a"]["digest"] == hashlib.blake2b(b"one", digest_size=32).digest()
    await worker.work(job(LibraryScanArgs(library, full_scan=True), 3))
    assert (await files(pool, library))[b"a"]["digest"] == hashlib.blake2b(b"two", digest_size=32).digest()
    skipped = await pool.fetch("SELECT skipped FROM library.scan WHERE directory = '' ORDER BY id DESC LIMIT 3")
    assert [row["skipped"] for row in skipped] == [0, 1, 0]


async def test_vanished_files_are_forgotten_and_scanning_twice_changes_nothing(
    pool: Any, library: uuid.UUID, tmp_path: Path
) -> None:
    worker = LibraryScanWorker(pool)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    for number in (1, 2):
        await worker.work(job(LibraryScanArgs(library), number))
    assert set(await files(pool, library)) == {b"a", b"b"}
    (tmp_path / "a").unlink()
    await worker.work(job(LibraryScanArgs(library), 3))
    assert set(await files(pool, library)) == {b"b"}


async def test_a_directory_that_is_gone_is_recorded_so(pool: Any, library: uuid.UUID) -> None:
    await LibraryScanWorker(pool).work(job(LibraryScanArgs(library, directory="gone")))
    problem = await pool.fetchval("SELECT problem FROM library.scan WHERE directory = $1 ORDER BY id DESC LIMIT 1", "gone")
    assert problem == "ENOENT"


@pytest.mark.parametrize("directory", ["/etc", "../etc", "a/../../etc"])
async def test_nothing_outside_the_library_is_looked_at(pool: Any, library: uuid.UUID, directory: str) -> None:
    with pytest.raises(JobCancel, match="must be inside"):
        await LibraryScanWorker(pool).work(job(LibraryScanArgs(library, directory=directory)))


async def test_an_unknown_library_cancels_the_job(pool: Any) -> None:
    with pytest.raises(JobCancel, match="does not exist"):
        await LibraryScanWorker(pool).work(job(LibraryScanArgs(uuid.uuid4())))


async def test_directories_need_not_be_text(pool: Any, library: uuid.UUID, tmp_path: Path) -> None:
    directory = b"odd \xff 100%"
    (tmp_path / os.fsdecode(directory)).mkdir()
    (tmp_path / os.fsdecode(directory) / "song").write_text("x")
    args = decode_args(LibraryScanArgs, encode_args(LibraryScanArgs(library, directory=encode_path(directory))))
    await LibraryScanWorker(pool).work(job(args))
    assert (await files(pool, library))[b"song"]["directory"] == "odd %FF 100%25"


async def test_a_volume_that_is_not_mounted_empties_nothing(pool: Any, library: uuid.UUID, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    await LibraryScanWorker(pool).work(job(LibraryScanArgs(library)))
    await pool.execute("UPDATE library.library SET root = root || '/absent' WHERE id = $1", library)
    with pytest.raises(LibraryUnavailableError):
        await LibraryScanWorker(pool).work(job(LibraryScanArgs(library), 2))
    assert set(await files(pool, library)) == {b"a"}


async def test_an_interrupted_job_stops_its_thread_and_writes_nothing(
    pool: Any, library: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, left = threading.Event(), threading.Event()

    def scan(root: str, directory: bytes, known: Any, stop: threading.Event) -> Any:
        entered.set()
        assert stop.wait(20)
        left.set()
        raise ScanStoppedError

    monkeypatch.setattr(jobs, "scan_directory", scan)
    task = asyncio.create_task(LibraryScanWorker(pool).work(job(LibraryScanArgs(library))))
    assert await asyncio.to_thread(entered.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()
    assert await pool.fetchval("SELECT count(*) FROM library.scan WHERE library_id = $1", library) == 0
