"""The benchmarks: each fills a place with jobs, works them, and returns what it measured."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
_ON_PURPOSE = "a benchmark's job fails once"


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
        slots: jobs at once.
        queues: how many, in the mode of many queues.
        rate: inserts a second, in the modes that insert steadily.
        patience: seconds without a job worked, after which those that are left count as lost.
    """

    jobs: int
    slots: int
    queues: int = 1
    rate: float = 100.0
    patience: float = 60.0


@dataclass(frozen=True)
class Measured:
    """What a benchmark returns.

    Attributes:
        figures: by name.
        wrong: what is not as it should be with the jobs in the table; empty where all is right.
    """

    figures: Figures
    wrong: str


async def burn_down(place: Place, load: Load, board: Board) -> Measured:
    """Insert all jobs first, then work them: River's ``bench -n``."""
    return await _burn_down(place, load, board, {"default": load.slots})


async def many_queues(place: Place, load: Load, board: Board) -> Measured:
    """The same with the jobs spread over many queues, all worked by one process."""
    each = max(1, load.slots // load.queues)
    return await _burn_down(place, load, board, {f"queue_{number}": each for number in range(load.queues)})


async def _burn_down(place: Place, load: Load, board: Board, queues: Mapping[str, int]) -> Measured:
    names = itertools.cycle(queues)
    async with place.client() as inserter:
        for batch in _batches(load.jobs):
            if board.ending.reached:
                break
            jobs = [InsertParams(BenchmarkArgs(num), InsertOpts(queue=next(names))) for num in batch]
            board.inserted += await inserter.insert_many_fast(jobs)
    await place.settle()
    async with place.client(_noop(), {**queues}, slots=load.slots) as client:
        cpu = time.process_time()
        async with board.running(lambda: client.completed):
            await board.all_worked(load.jobs, load.patience)
        cpu = time.process_time() - cpu
    return await _judged(place, board, board.figures() | {"client_cpu_us_per_job": cpu / max(1, board.worked) * 1e6})


async def continuous(place: Place, load: Load, board: Board) -> Measured:
    """Insert and work at the same time, with jobs always waiting: River's ``bench``."""
    async with place.client() as inserter:

        async def top_up() -> None:
            numbers = itertools.count(board.inserted)
            while board.left < LEAST_WAITING and not board.ending.reached:
                jobs = [BenchmarkArgs(num) for num in itertools.islice(numbers, BATCH)]
                board.inserted += await inserter.insert_many_fast(jobs)

        await top_up()
        await place.settle()
        async with place.client(_noop(), {"default": load.slots}) as client, board.running(lambda: client.completed):
            while not board.ending.reached:
                await top_up()
                await board.ending.wait(LOOK_SECONDS)
    return await _judged(place, board, board.figures(), ended_early=True)


async def latency(place: Place, load: Load, board: Board) -> Measured:
    """Insert at a steady rate into an idle queue: how long from before the insert, and from its return, to the start."""
    called, returned, started = [0.0] * load.jobs, [0.0] * load.jobs, [0.0] * load.jobs
    workers = Workers()

    @workers.work
    async def work(job: Job[BenchmarkArgs]) -> None:
        started[job.args.num] = time.perf_counter()
        board.job_worked()

    async with place.client(workers, {"default": load.slots}) as client, board.running():

        async def insert(num: int) -> None:
            called[num] = time.perf_counter()
            await client.insert(BenchmarkArgs(num))
            returned[num] = time.perf_counter()
            board.inserted += 1

        await _steadily(load, board, insert)
        await board.all_worked(board.inserted, load.patience)
    times = [each for each in zip(called, returned, started, strict=True) if all(each)]
    figures: Figures = {
        "jobs": len(times),
        "from_the_call": percentiles([1000 * (start - call) for call, _, start in times]),
        "from_its_return": percentiles([1000 * (start - back) for _, back, start in times]),
        "insert": percentiles([1000 * (back - call) for call, back, _ in times]),
    }
    return await _judged(place, board, figures)


async def insert(place: Place, load: Load, board: Board) -> Measured:
    """Insert one by one, in batches with ids, and by COPY."""
    figures: Figures = {}
    async with place.client() as client, board.running():

        async def one(batch: range) -> int:
            return len([await client.insert(BenchmarkArgs(num)) for num in batch])

        async def many(batch: range) -> int:
            return len(await client.insert_many([BenchmarkArgs(num) for num in batch]))

        async def fast(batch: range) -> int:
            return await client.insert_many_fast([BenchmarkArgs(num) for num in batch])

        for name, jobs, size, run in (
            ("insert", max(1, load.jobs // 20), 1, one),
            ("insert_many", load.jobs, BATCH, many),
            ("insert_many_fast", load.jobs, BATCH, fast),
        ):
            before, started = board.inserted, time.perf_counter()
            for batch in _batches(jobs, size):
                if board.ending.reached:
                    break
                board.inserted += await run(batch)
            figures[f"{name}_jobs_per_second"] = (board.inserted - before) / (time.perf_counter() - started)
    return await _judged(place, board, figures, state="available")


async def mixed(place: Place, load: Load, board: Board) -> Measured:
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
            raise RuntimeError(_ON_PURPOSE)
        elif job.args.todo == "snooze" and not (job.row.metadata or {}).get("snoozes"):
            raise JobSnooze(timedelta(0))
        board.job_worked()

    todo = itertools.cycle(("", "", "sleep", "", "fail", "", "sleep", "", "snooze", "sleep"))

    async def insert_one(num: int) -> None:
        opts = InsertOpts(priority=1 if num % 10 == 0 else 2)
        await client.insert(BenchmarkArgs(num, next(todo)), opts)
        board.inserted += 1

    client = place.client(workers, {"default": load.slots}, retry_policy=lambda _: datetime.now(UTC))
    with _quiet_failures():
        async with client, board.running():
            await _steadily(load, board, insert_one)
            await board.all_worked(board.inserted, load.patience)
    return await _judged(place, board, {"jobs": board.worked, "wait": percentiles(waits)})


MODES: dict[str, Callable[[Place, Load, Board], Awaitable[Measured]]] = {
    "burn-down": burn_down,
    "continuous": continuous,
    "latency": latency,
    "insert": insert,
    "mixed": mixed,
    "many-queues": many_queues,
}


def wrong_states(states: Mapping[str, int], inserted: int, allowed: Iterable[str]) -> str:
    """What is wrong with the jobs in the table, once no client works any more.

    Args:
        states: jobs by state.
        inserted: how many were inserted.
        allowed: the states that they may be in.
    """
    wrong = [f"{count:,} {state}" for state, count in states.items() if state not in allowed]
    there = sum(states.values())
    if there != inserted:
        wrong.append(f"{there:,} in the table")
    return f"of {inserted:,} jobs inserted, {', '.join(wrong)}: all should be {' or '.join(allowed)}" if wrong else ""


async def _judged(
    place: Place, board: Board, figures: Figures, *, state: str = "completed", ended_early: bool = False
) -> Measured:
    """Figures with the jobs by state; at an early end some may still wait."""
    states = await place.states()
    allowed = [state, "available"] if (ended_early or board.ending.reached) and state != "available" else [state]
    return Measured(figures | {"states": {**states}}, wrong_states(states, board.inserted, allowed))


def _noop() -> Workers:
    workers = Workers()

    @workers.work
    async def work(_: Job[BenchmarkArgs]) -> None:
        pass

    return workers


@contextmanager
def _quiet_failures() -> Iterator[None]:
    """What fails on purpose is no news, anything else is."""

    def is_news(record: logging.LogRecord) -> bool:
        return _ON_PURPOSE not in str(getattr(record, "error", ""))

    logger = logging.getLogger("rivermill.executor")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _batches(jobs: int, size: int = BATCH) -> Iterable[range]:
    return (range(first, min(first + size, jobs)) for first in range(0, jobs, size))


async def _steadily(load: Load, board: Board, insert: Callable[[int], Awaitable[None]]) -> None:
    begin = time.perf_counter()
    for num in range(load.jobs):
        await board.ending.wait(begin + num / load.rate - time.perf_counter())
        if board.ending.reached:
            return
        await insert(num)
