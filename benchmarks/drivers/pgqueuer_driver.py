"""Drives pgqueuer over asyncpg, as its documentation advises for workers; ``--slots`` is its batch size."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import asyncpg
from common import Drain, Figures, Starts, run, timed_inserts
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries


async def _driver(options: argparse.Namespace) -> AsyncpgDriver:
    return AsyncpgDriver(await asyncpg.connect(options.url))


async def _some(queries: Queries, numbers: range) -> None:
    count = len(numbers)
    await queries.enqueue(["benchmark"] * count, [b"%d" % number for number in numbers], [0] * count)


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables, tuned as it advises."""
    queries = Queries(await _driver(options))
    await queries.install()
    await queries.optimize_autovacuum()
    return {}


async def fill(options: argparse.Namespace) -> Figures:
    """Insert jobs that are due."""
    queries = Queries(await _driver(options))
    return await timed_inserts(options.jobs, 1000, lambda numbers: _some(queries, numbers))


async def check(options: argparse.Namespace) -> Figures:
    """Count what its log says was successful; finished jobs leave the queue."""
    connection = await asyncpg.connect(options.url)
    done = await connection.fetchval("SELECT count(DISTINCT job_id) FROM pgqueuer_log WHERE status = 'successful'")
    return {"done": done}


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, connection = Drain(options.jobs), await asyncpg.connect(options.url)
    queue = PgQueuer(await _driver(options))

    @queue.entrypoint("benchmark")
    async def work(_: Any) -> None:
        await count.work(options.sleep)

    working = asyncio.create_task(queue.run(batch_size=options.slots))
    figures = await count.figures(options.slots, lambda: connection.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)"))
    queue.shutdown.set()
    await working
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    queries = Queries(await _driver(options))
    return await timed_inserts(options.jobs, options.batch, lambda numbers: _some(queries, numbers))


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts, queue, queries = Starts(options.jobs), PgQueuer(await _driver(options)), Queries(await _driver(options))

    @queue.entrypoint("benchmark")
    async def work(job: Any) -> None:
        starts.begun(int(job.payload))

    working = asyncio.create_task(queue.run(batch_size=options.slots))
    figures = await starts.figures(lambda number: queries.enqueue("benchmark", b"%d" % number), options.rate)
    queue.shutdown.set()
    await working
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "fill": fill, "check": check, "drain": drain, "insert": insert, "latency": latency})
