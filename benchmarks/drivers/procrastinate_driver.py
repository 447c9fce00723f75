"""Drives procrastinate over psycopg; ``--slots`` is its concurrency, its pool has two connections more, but 4 to 20."""

from __future__ import annotations

import argparse
import asyncio
import functools
from contextlib import suppress

import procrastinate
from common import Drain, Figures, Starts, run, tally, timed_inserts
from with_psycopg import some, states


def _app(options: argparse.Namespace) -> procrastinate.App:
    size = max(4, min(options.slots + 2, 20))
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=options.url, min_size=4, max_size=size))


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    async with _app(options).open_async() as app:
        await app.schema_manager.apply_schema_async()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them."""
    return tally(await states(options.url, "procrastinate_jobs", "status"), waiting="todo", done="succeeded")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, app = Drain(options.jobs), _app(options)

    @app.task(name="benchmark", queue="default")
    async def work(num: int) -> None:  # noqa: ARG001 - the job's args
        if options.sleep:
            await count.work(options.sleep)
        else:
            count.note()

    async with app.open_async():
        working = asyncio.create_task(
            app.run_worker_async(queues=["default"], concurrency=options.slots, install_signal_handlers=False)
        )
        unfinished = functools.partial(some, options.url, "procrastinate_jobs", "status IN ('todo', 'doing')")
        figures = await count.figures(options.slots, unfinished)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    app = _app(options)

    @app.task(name="benchmark", queue="default")
    async def work(num: int) -> None:
        """A name to insert for."""

    async def some(numbers: range) -> None:
        if len(numbers) == 1:
            await work.defer_async(num=numbers[0])
        else:
            await work.batch_defer_async(*[{"num": number} for number in numbers])

    async with app.open_async():
        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts, app = Starts(options), _app(options)

    @app.task(name="benchmark", queue="default")
    async def work(num: int) -> None:
        await starts.work(num)

    async with app.open_async():
        working = asyncio.create_task(
            app.run_worker_async(queues=["default"], concurrency=options.slots, install_signal_handlers=False)
        )
        figures = await starts.figures(lambda number: work.defer_async(num=number))
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "check": check, "drain": drain, "insert": insert, "latency": latency})
