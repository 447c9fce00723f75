"""Drives Oban for Python (the open-source part) over psycopg; ``--slots`` is its queue's limit."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from common import Drain, Figures, Starts, run, timed_inserts
from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool

#: What the job does: its class is found by name, so it finds here what is measured.
_body: list[Callable[[int], Any]] = []


@worker(queue="default")
class Benchmark:
    """The job."""

    async def process(self, job: Any) -> None:
        """Do it."""
        result = _body[0](job.args["num"])
        if result is not None:
            await result


@asynccontextmanager
async def _pool(options: argparse.Namespace) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(options.url, min_size=4, max_size=10, open=False) as pool:
        yield pool


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    async with _pool(options) as pool:
        await install(pool)
    return {}


async def fill(options: argparse.Namespace) -> Figures:
    """Insert jobs that are due."""
    options.batch = 1000
    return await insert(options)


async def _count(pool: AsyncConnectionPool, condition: str) -> int:
    async with pool.connection() as connection:
        row = await (await connection.execute(f"SELECT count(*) FROM oban_jobs WHERE {condition}")).fetchone()
    return row[0] if row else 0


async def check(options: argparse.Namespace) -> Figures:
    """Count the jobs that were completed."""
    async with _pool(options) as pool:
        return {"done": await _count(pool, "state = 'completed'")}


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count = Drain(options.jobs)
    _body[:] = [lambda _: count.work(options.sleep)]
    async with _pool(options) as pool:
        oban = Oban(pool=pool, queues={"default": options.slots})
        await oban.start()
        figures = await count.figures(options.slots, lambda: _count(pool, "state IN ('available', 'executing')"))
        await oban.stop()
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    async with _pool(options) as pool, Oban(pool=pool) as oban:

        async def some(numbers: range) -> None:
            await oban.enqueue_many([Benchmark.new({"num": number}) for number in numbers])

        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts = Starts(options.jobs)
    _body[:] = [starts.begun]
    async with _pool(options) as pool:
        oban = Oban(pool=pool, queues={"default": options.slots})
        await oban.start()
        figures = await starts.figures(lambda num: oban.enqueue(Benchmark.new({"num": num})), options.rate)
        await oban.stop()
    return figures


if __name__ == "__main__":
    import oban_driver  # jobs are found by this name, so what is measured must be in the module of this name

    run({mode: getattr(oban_driver, mode) for mode in ("prepare", "fill", "check", "drain", "insert", "latency")})
