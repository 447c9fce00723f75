"""Drives awa-pg's asynchronous client; ``--slots`` are its workers, over ``--queues`` partitions of one queue."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient, PartitionedQueue
from common import Drain, Figures, Starts, run, tally, timed_inserts

_QUEUE = "default"
_UNFINISHED = ("scheduled", "available", "retryable", "running", "waiting_external", "failed")


@dataclass
class Benchmark:
    """The job."""

    num: int


def _partitions(options: argparse.Namespace) -> PartitionedQueue:
    return PartitionedQueue(_QUEUE, options.queues)


async def _start(client: AsyncClient, options: argparse.Namespace) -> None:
    if options.queues == 1:
        await client.start([(_QUEUE, options.slots)])
    else:
        await client.start(_partitions(options).queue_configs(options.slots // options.queues))


async def _unfinished(client: AsyncClient) -> Counter[str]:
    """Jobs that have not ended well, by state; its view ``awa.jobs`` takes minutes once 50,000 have ended."""
    counts: Counter[str] = Counter()
    for stat in await client.queue_stats():
        counts.update({state: getattr(stat, state) for state in _UNFINISHED})
    return counts


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables, with the storage that a worker would switch to when it starts, since it is filled before."""
    client = AsyncClient(options.url)
    await client.migrate()
    await client.install_queue_storage()
    await client.close()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them; done ones leave its tables in time, so what is no longer there is done."""
    client = AsyncClient(options.url)
    counts = await _unfinished(client)
    await client.close()
    counts["completed"] = options.jobs - counts.total()
    return tally(counts, waiting="available", done="completed")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count, client = Drain(options.jobs), AsyncClient(options.url)

    @client.task(Benchmark, queue=_QUEUE)
    async def work(_: Any) -> None:
        if options.sleep:
            await count.work(options.sleep)
        else:
            count.note()

    async def unfinished() -> bool:
        return (await _unfinished(client)).total() > 0

    await _start(client, options)
    figures = await count.figures(options.slots, unfinished)
    await client.shutdown()
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
    starts, client = Starts(options), AsyncClient(options.url)

    @client.task(Benchmark, queue=_QUEUE)
    async def work(job: Any) -> None:
        await starts.work(job.args.num)

    await _start(client, options)
    figures = await starts.figures(lambda number: client.insert(Benchmark(number), queue=_QUEUE))
    await client.shutdown()
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "check": check, "drain": drain, "insert": insert, "latency": latency})
