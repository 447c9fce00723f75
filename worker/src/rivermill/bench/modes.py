"""The benchmarks: each fills a place with jobs, works them, and returns what it measured."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from rivermill.bench.board import Board, Figures, percentiles
from rivermill.bench.place import Place
from rivermill.errors import JobSnooze
from rivermill.insert_rows import InsertOpts, InsertParams
from rivermill.job import Job
from rivermill.worker import Workers

#: River's numbers: jobs an insert, jobs that wait at least in continuous mode, and the time between two looks.
BATCH = 5_000
LEAST_WAITING = 75_000
LOOK_SECONDS = 0.25
_MIXED_SLEEP = 0.01


@dataclass
class BenchmarkArgs:
    """A job that does nothing, or what ``todo`` says."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0
    todo: str = ""


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        jobs: how many.
        seconds: how long, in modes that end by time; None until interrupted.
        slots: jobs at once.
        queues: how many, in the mode of many queues.
        rate: inserts a second, in the modes that insert steadily.
    """

    jobs: int
    seconds: float | None
    slots: int
    queues: int
    rate: float


async def burn_down(place: Place, load: Load, board: Board) -> Figures:
    """Insert all jobs first, then work them: River's ``bench -n``."""
    await _insert(place, board, load.jobs)
    await place.settle()
    return await _work_all(place, board, load.jobs, {"default": load.slots})


async def many_queues(place: Place, load: Load, board: Board) -> Figures:
    """The same with the jobs spread over many queues, all worked by one process."""
    names = [f"queue_{number}" for number in range(load.queues)]
    await _insert(place, board, load.jobs, names)
    await place.settle()
    each = max(1, load.slots // load.queues)
    return await _work_all(place, board, load.jobs, dict.fromkeys(names, each), slots=load.slots)


async def continuous(place: Place, load: Load, board: Board) -> Figures:
    """Insert and work at the same time, with jobs always waiting: River's ``bench``."""
    client = place.client(_counting(board), {"default": load.slots})
    await _insert(place, board, LEAST_WAITING)
    await place.settle()
    started = time.monotonic()
    async with client, board.printing():
        until = started + (load.seconds or float("inf"))
        while time.monotonic() < until:
            missing = LEAST_WAITING - await place.waiting()
            if missing > 0:
                await _insert(place, board, -(-missing // BATCH) * BATCH)
            await asyncio.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - started
    return {"jobs_worked": board.worked, "seconds": seconds, "jobs_per_second": board.worked / seconds}


async def latency(place: Place, load: Load, board: Board) -> Figures:
    """Insert at a steady rate into an idle queue: how long from before the insert, and from its return, to the start."""
    called, returned, started = [0.0] * load.jobs, [0.0] * load.jobs, [0.0] * load.jobs
    workers = Workers()

    @workers.work
    async def work(job: Job[BenchmarkArgs]) -> None:
        started[job.args.num] = time.perf_counter()
        board.job_worked()

    async with place.client(workers, {"default": load.slots}) as client, board.printing():

        async def insert(num: int) -> None:
            called[num] = time.perf_counter()
            await client.insert(BenchmarkArgs(num))
            returned[num] = time.perf_counter()
            board.inserted += 1

        await _steadily(load, insert)
        await board.all_worked(load.jobs)
    return {
        "jobs": load.jobs,
        "from_the_call": percentiles([1000 * (b - a) for a, b in zip(called, started, strict=True)]),
        "from_its_return": percentiles([1000 * (b - a) for a, b in zip(returned, started, strict=True)]),
        "insert": percentiles([1000 * (b - a) for a, b in zip(called, returned, strict=True)]),
    }


async def insert(place: Place, load: Load, board: Board) -> Figures:
    """Insert one by one, in batches with ids, and by COPY."""
    figures: Figures = {}
    async with place.client() as client, board.printing():
        few = max(1, load.jobs // 20)

        async def one_by_one() -> None:
            for num in range(few):
                await client.insert(BenchmarkArgs(num))

        async def many() -> None:
            for batch in _batches(load.jobs):
                await client.insert_many([BenchmarkArgs(num) for num in batch])

        async def fast() -> None:
            for batch in _batches(load.jobs):
                await client.insert_many_fast([BenchmarkArgs(num) for num in batch])

        for name, jobs, run in (
            ("insert", few, one_by_one),
            ("insert_many", load.jobs, many),
            ("insert_many_fast", load.jobs, fast),
        ):
            started = time.perf_counter()
            await run()
            figures[f"{name}_jobs_per_second"] = jobs / (time.perf_counter() - started)
            board.inserted += jobs
    return figures


async def mixed(place: Place, load: Load, board: Board) -> Figures:
    """Insert at a steady rate jobs as real ones are: most are short, some wait, some fail once or snooze, few are urgent."""
    waits: list[float] = []
    workers = Workers()

    @workers.work
    async def work(job: Job[BenchmarkArgs]) -> None:
        if job.attempt == 1:
            waits.append(1000 * (datetime.now(UTC) - job.row.scheduled_at).total_seconds())
        if job.args.todo == "sleep":
            await asyncio.sleep(_MIXED_SLEEP)
        elif job.args.todo == "fail" and job.attempt == 1:
            raise RuntimeError("a benchmark's job fails once")
        elif job.args.todo == "snooze" and not (job.row.metadata or {}).get("snoozes"):
            raise JobSnooze(timedelta(0))
        board.job_worked()

    todo = itertools.cycle(("", "", "sleep", "", "fail", "", "sleep", "", "snooze", "sleep"))

    async def insert_one(num: int) -> None:
        opts = InsertOpts(priority=1 if num % 10 == 0 else 2)
        await client.insert(BenchmarkArgs(num, next(todo)), opts)
        board.inserted += 1

    client = place.client(workers, {"default": load.slots}, retry_policy=lambda _: datetime.now(UTC))
    async with client, board.printing():
        await _steadily(load, insert_one)
        await board.all_worked(load.jobs)
    return {"jobs": load.jobs, "wait": percentiles(waits), "states": {**await place.states()}}


MODES: dict[str, Callable[[Place, Load, Board], Awaitable[Figures]]] = {
    "burn-down": burn_down,
    "continuous": continuous,
    "latency": latency,
    "insert": insert,
    "mixed": mixed,
    "many-queues": many_queues,
}


def _counting(board: Board) -> Workers:
    workers = Workers()

    @workers.work
    async def work(_: Job[BenchmarkArgs]) -> None:
        board.job_worked()

    return workers


async def _work_all(place: Place, board: Board, jobs: int, queues: dict[str, int], slots: int | None = None) -> Figures:
    cpu, started = time.process_time(), time.perf_counter()
    async with place.client(_counting(board), {**queues}, slots=slots), board.printing():
        await board.all_worked(jobs)
        while await place.unfinished():  # noqa: ASYNC110 - a table cannot tell
            await asyncio.sleep(0.005)
        seconds = time.perf_counter() - started
    return {
        "jobs_worked": board.worked,
        "seconds": seconds,
        "jobs_per_second": board.worked / seconds,
        "client_cpu_us_per_job": (time.process_time() - cpu) / jobs * 1e6,
        "states": {**await place.states()},
    }


async def _insert(place: Place, board: Board, jobs: int, queues: Iterable[str] = ("default",)) -> None:
    names = itertools.cycle(queues)
    async with place.client() as client:
        for batch in _batches(jobs):
            board.inserted += await client.insert_many_fast(
                [InsertParams(BenchmarkArgs(num), InsertOpts(queue=next(names))) for num in batch]
            )


def _batches(jobs: int) -> Iterable[range]:
    return (range(first, min(first + BATCH, jobs)) for first in range(0, jobs, BATCH))


async def _steadily(load: Load, insert: Callable[[int], Awaitable[None]]) -> None:
    begin = time.perf_counter()
    for num in range(load.jobs):
        await asyncio.sleep(max(0.0, begin + num / load.rate - time.perf_counter()))
        await insert(num)
