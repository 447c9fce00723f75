"""Workers in threads and processes, the processes that they start, and signals."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from rivermill import InsertOpts, Job, JobState, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working

LONG = timedelta(minutes=5)


def half(number: int) -> int:
    return number // 2


def in_a_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:  # which sends its processes SIGTERM
        return pool.map(half, [2, 4])


@dataclass
class Start:
    kind: ClassVar[str] = "start"
    what: str
    path: str = ""


def start(job: Job[Start]) -> None:
    DOES[job.args.what](job)


def be_signalled(_: Job[Start]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)


def use_a_pool(job: Job[Start]) -> None:
    job.record_output(in_a_pool())


def end_a_process(job: Job[Start]) -> None:
    """What signals do to a process that the job starts is as everywhere."""
    with subprocess.Popen(["sleep", "600"]) as started:
        started.terminate()
        job.record_output(started.wait())


def sleep_with_another(job: Job[Start]) -> None:
    with subprocess.Popen(["sleep", "600"]) as started:
        job.record_output(started.pid)
        Path(job.args.path).write_text(str(started.pid))
        time.sleep(600)


def die_before_another(job: Job[Start]) -> None:
    started = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    started.start()
    Path(job.args.path).write_text(str(started.pid))
    os._exit(7)


DOES: dict[str, Callable[[Job[Start]], None]] = {
    does.__name__: does for does in (be_signalled, use_a_pool, end_a_process, sleep_with_another, die_before_another)
}


def is_over(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_thread_may_end_processes_of_its_own(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    def work(job: Job[Note]) -> None:
        job.record_output(in_a_pool())

    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)  # as `rivermill work` has one
    try:
        async with working(dsn, connection, schema, workers) as bench:
            job = await bench.client.enqueue(Note())
            row = await bench.reaches(job.id, JobState.COMPLETED)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert row.metadata is not None
    assert (row.metadata["output"], heard.is_set()) == ([1, 2], False)


@pytest.mark.parametrize(
    ("what", "output"),
    [(be_signalled, None), (use_a_pool, [1, 2]), (end_a_process, -signal.SIGTERM)],
    ids=["signalled", "pool", "ends"],
)
async def test_signals_are_for_what_a_process_starts_and_not_for_it(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, what: Callable[..., None], output: object
) -> None:
    workers.work(executor="process", timeout=LONG)(start)
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Start(what.__name__), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.COMPLETED, JobState.DISCARDED)
    assert (row.state, (row.metadata or {}).get("output")) == (JobState.COMPLETED, output)


async def test_a_process_is_killed_with_what_it_has_started_and_keeps_what_it_has_recorded(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, tmp_path: Path
) -> None:
    workers.work(executor="process")(start)
    path = tmp_path / "pid"
    async with working(dsn, connection, schema, workers, job_timeout=LONG, job_stuck_threshold=LONG) as bench:
        job = (await bench.client.insert(Start("sleep_with_another", str(path)))).job
        pid = await number_in(path)
        await bench.client.cancel(job.id)
        row = await bench.reaches(job.id, JobState.CANCELLED)
    assert row.metadata is not None
    assert row.metadata["output"] == pid
    await eventually(over(pid))


async def test_what_a_process_has_started_ends_with_it(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, tmp_path: Path
) -> None:
    workers.work(executor="process", timeout=LONG)(start)
    path = tmp_path / "pid"
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Start("die_before_another", str(path)), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
        assert row.errors[0].error == "the worker process died: exit code 7"
        await eventually(over(await number_in(path)))


def number(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


async def number_in(path: Path) -> int:
    async def read() -> int:
        return number(path)

    found: int = await eventually(read)
    return found


def over(pid: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return is_over(pid)

    return check
