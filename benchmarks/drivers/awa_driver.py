"""Drives awa-pg's asynchronous client; ``--slots`` are its workers, over ``--queues`` partitions of one queue."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import asyncpg
from awa import AsyncClient, PartitionedQueue
from common import WATCHER, Drain, Figures, Starts, run, tally, timed_inserts

_QUEUE = "default"
_UNFINISHED = "SELECT EXISTS (SELECT FROM awa.jobs WHERE state::text <> 'completed')"


@dataclass
class Benchmark:
    """The job."""

    num: int


async def _watcher(options: argparse.Namespace) -> Any:
    return await asyncpg.connect(options.url, server_settings={"application_name": WATCHER})


def _partitions(options: argparse.Namespace) -> PartitionedQueue:
    return PartitionedQueue(_QUEUE, options.queues)


async def _start(client: AsyncClient, options: argparse.Namespace) -> None:
    if options.queues == 1:
        await client.start([(_QUEUE, options.slots)])
    else:
        await client.start(_partitions(options).queue_configs(options.slots // options.queues))


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    client = AsyncClient(options.url)
    await client.migrate()
    await client.close()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them."""
    connection = await _watcher(options)
    counts = dict(await connection.fetch("SELECT state::text, count(*) FROM awa.jobs GROUP BY 1"))
    await connection.close()
    return tally(counts, waiting="available", done="completed")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, client, connection = Drain(options.jobs), AsyncClient(options.url), await _watcher(options)

    @client.task(Benchmark, queue=_QUEUE)
    async def work(_: Any) -> None:
        await count.work(options.sleep)

    await _start(client, options)
    figures = await count.figures(options.slots, lambda: connection.fetchval(_UNFINISHED))
    await client.shutdown()
    await connection.close()
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches, several at once by COPY."""
    client, partitions = AsyncClient(options.url), _partitions(options)

    async def some(numbers: range) -> None:
        if len(numbers) == 1:
            await client.insert(Benchmark(numbers[0]), queue=_QUEUE)
        else:
            routes = [partitions.route_by_index(number) for number in numbers]
            await client.enqueue_many_copy([Benchmark(number) for number in numbers], opts=routes)

    figures = await timed_inserts(options.jobs, options.batch, some)
    await client.close()
    return figures


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts, client = Starts(options.jobs), AsyncClient(options.url)

    @client.task(Benchmark, queue=_QUEUE)
    async def work(job: Any) -> None:
        starts.begun(job.args.num)

    await _start(client, options)
    figures = await starts.figures(lambda number: client.insert(Benchmark(number), queue=_QUEUE), options.rate)
    await client.shutdown()
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "check": check, "drain": drain, "insert": insert, "latency": latency})
