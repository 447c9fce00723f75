"""Drives pgqueuer over asyncpg, on one connection or a pool of ``--pool``.

``--slots`` is its batch size, ``--most-at-once`` its limit, ``--storage=balanced`` its durability of this name.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from typing import Any

import asyncpg
import uvloop
from common import WATCHER, Drain, Figures, Starts, run, tally, timed_inserts
from pgqueuer import PgQueuer
from pgqueuer.adapters.persistence.qb import DBSettings, Durability, QueryBuilderEnvironment
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.queries import Queries

_LEAST_OF_POOL = 5


async def _driver(options: argparse.Namespace) -> AsyncpgDriver | AsyncpgPoolDriver:
    if options.pool:
        return AsyncpgPoolDriver(await asyncpg.create_pool(options.url, min_size=_LEAST_OF_POOL, max_size=options.pool))
    return AsyncpgDriver(await asyncpg.connect(options.url))


async def _watcher(options: argparse.Namespace) -> Any:
    return await asyncpg.connect(options.url, server_settings={"application_name": WATCHER})


async def _some(queries: Queries, numbers: range) -> None:
    count = len(numbers)
    await queries.enqueue(["benchmark"] * count, [b"%d" % number for number in numbers], [0] * count)


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables, tuned as it advises."""
    durability = Durability(options.storage or Durability.durable.value)
    queries = Queries(await _driver(options), QueryBuilderEnvironment(DBSettings(durability=durability)))
    await queries.install()
    await queries.optimize_autovacuum()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count what waits, and what its log says has ended; finished jobs leave the queue."""
    connection = await _watcher(options)
    counts = Counter(dict(await connection.fetch("SELECT status::text, count(*) FROM pgqueuer GROUP BY 1")))
    ended = await connection.fetch(
        "SELECT status::text, count(DISTINCT job_id) FROM pgqueuer_log WHERE status NOT IN ('queued', 'picked') GROUP BY 1"
    )
    return tally(counts + Counter(dict(ended)), waiting="queued", done="successful")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, connection = Drain(options.jobs), await _watcher(options)
    queue = PgQueuer(await _driver(options))

    @queue.entrypoint("benchmark")
    async def work(_: Any) -> None:
        if options.sleep:
            await count.work(options.sleep)
        else:
            count.note()

    working = asyncio.create_task(queue.run(batch_size=options.slots, max_concurrent_tasks=options.most_at_once))
    slots = options.most_at_once or options.slots
    figures = await count.figures(slots, lambda: connection.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)"))
    queue.shutdown.set()
    await working
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    queries = Queries(await _driver(options))
    return await timed_inserts(options.jobs, options.batch, lambda numbers: _some(queries, numbers))


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts, queue, queries = Starts(options), PgQueuer(await _driver(options)), Queries(await _driver(options))

    @queue.entrypoint("benchmark")
    async def work(job: Any) -> None:
        await starts.work(int(job.payload))

    working = asyncio.create_task(queue.run(batch_size=options.slots, max_concurrent_tasks=options.most_at_once))
    figures = await starts.figures(lambda number: queries.enqueue("benchmark", b"%d" % number))
    queue.shutdown.set()
    await working
    return figures


if __name__ == "__main__":
    # As its own command `pgq run` does.
    run({"prepare": prepare, "check": check, "drain": drain, "insert": insert, "latency": latency}, uvloop.run)
