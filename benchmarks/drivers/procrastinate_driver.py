"""Drives procrastinate over psycopg; ``--slots`` is its concurrency, its pool has two connections more, but at most 20."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress

import procrastinate
import psycopg
from common import Drain, Figures, Starts, run, timed_inserts


def _app(options: argparse.Namespace) -> procrastinate.App:
    size = min(options.slots + 2, 20)
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=options.url, min_size=4, max_size=size))


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    async with _app(options).open_async() as app:
        await app.schema_manager.apply_schema_async()
    return {}


async def fill(options: argparse.Namespace) -> Figures:
    """Insert jobs that are due."""
    options.batch = 1000
    return await insert(options)


async def _count(options: argparse.Namespace, condition: str) -> int:
    async with await psycopg.AsyncConnection.connect(options.url) as connection:
        row = await (await connection.execute(f"SELECT count(*) FROM procrastinate_jobs WHERE {condition}")).fetchone()
    return row[0] if row else 0


async def check(options: argparse.Namespace) -> Figures:
    """Count the jobs that succeeded."""
    return {"done": await _count(options, "status = 'succeeded'")}


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, app = Drain(options.jobs), _app(options)

    @app.task(name="benchmark", queue="default")
    async def work(num: int) -> None:  # noqa: ARG001 - the job's args
        await count.work(options.sleep)

    async with app.open_async():
        working = asyncio.create_task(
            app.run_worker_async(queues=["default"], concurrency=options.slots, install_signal_handlers=False)
        )
        figures = await count.figures(options.slots, lambda: _count(options, "status IN ('todo', 'doing')"))
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
    starts, app = Starts(options.jobs), _app(options)

    @app.task(name="benchmark", queue="default")
    async def work(num: int) -> None:
        starts.begun(num)

    async with app.open_async():
        working = asyncio.create_task(
            app.run_worker_async(queues=["default"], concurrency=options.slots, install_signal_handlers=False)
        )
        figures = await starts.figures(lambda number: work.defer_async(num=number), options.rate)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "fill": fill, "check": check, "drain": drain, "insert": insert, "latency": latency})
