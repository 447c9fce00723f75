"""Drives Rivermill, and its two hot statements alone: the ceiling of what any worker that uses them can reach."""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg
from common import Drain, Figures, Starts, run, timed_inserts

from rivermill import Client, Job, Workers
from rivermill.claims import claim_sql
from rivermill.completer import plain_sql
from rivermill.migrations.migrator import Migrator
from rivermill.schema import Schema

_CLIENT = "ceiling"
_LEFT = "SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))"


@dataclass
class Noop:
    """A job that does nothing, or sleeps."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0


async def prepare(options: argparse.Namespace) -> Figures:
    """Make River's tables and ours."""
    connection = await asyncpg.connect(options.url)
    for line in ("main", "rivermill"):
        await Migrator(connection, Schema(), line).up()
    await connection.close()
    return {}


async def fill(options: argparse.Namespace) -> Figures:
    """Insert jobs that are due, oldest first."""
    connection = await asyncpg.connect(options.url)
    await connection.execute("TRUNCATE river_job")
    await connection.execute(
        "INSERT INTO river_job (kind, args, scheduled_at) "
        "SELECT 'benchmark', jsonb_build_object('num', n), now() - interval '1 hour' + n * interval '1 microsecond' "
        "FROM generate_series(1, $1::int) AS n",
        options.jobs,
    )
    await connection.close()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count the jobs that were completed at their first attempt."""
    connection = await asyncpg.connect(options.url)
    done = await connection.fetchval("SELECT count(*) FROM river_job WHERE state = 'completed' AND attempt = 1")
    await connection.close()
    return {"done": done}


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    if options.ceiling:
        return await _drive_statements(options)
    workers, count = Workers(), Drain(options.jobs)

    @workers.work
    async def work(_: Job[Noop]) -> None:
        await count.work(options.sleep)

    connection = await asyncpg.connect(options.url)
    client = Client(options.url, workers=workers, queues={"default": options.slots})
    await client.start()
    figures = await count.figures(options.slots, lambda: connection.fetchval(_LEFT))
    await client.stop()
    await connection.close()
    return figures


async def _drive_statements(options: argparse.Namespace) -> Figures:
    claimer, completer = await asyncpg.connect(options.url), await asyncpg.connect(options.url)
    claim, complete = claim_sql(Schema()), plain_sql(Schema())
    for connection in (claimer, completer):
        await connection.execute("SET jit = off")
    batches: asyncio.Queue[list[int]] = asyncio.Queue(2)

    async def finish() -> None:
        done = 0
        while done < options.jobs:
            ids = await batches.get()
            await completer.execute(complete, sorted(ids), _CLIENT)
            done += len(ids)

    cpu, started = time.process_time(), time.perf_counter()
    finishing = asyncio.create_task(finish())
    claimed = 0
    while claimed < options.jobs:
        records = await claimer.fetch(claim, "default", options.slots, _CLIENT)
        claimed += len(records)
        await batches.put([record["id"] for record in records])
    await finishing
    seconds = time.perf_counter() - started
    await claimer.close()
    await completer.close()
    client_us = (time.process_time() - cpu) / options.jobs * 1e6
    return {"per_second": options.jobs / seconds, "client_us": client_us, "ran": claimed}


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    async with Client(options.url) as client:

        async def some(numbers: range) -> Any:
            if options.batch == 1:
                return await client.insert(Noop(numbers[0]))
            jobs = [Noop(number) for number in numbers]
            return await (client.insert_many_fast(jobs) if options.fast else client.insert_many(jobs))

        await client.insert(Noop())
        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts, at default settings."""
    workers, starts = Workers(), Starts(options.jobs)

    @workers.work
    async def work(job: Job[Noop]) -> None:
        starts.begun(job.args.num)

    client = Client(options.url, workers=workers, queues={"default": options.slots})
    await client.start()
    figures = await starts.figures(lambda number: client.insert(Noop(number)), options.rate)
    await client.stop()
    return figures


if __name__ == "__main__":
    run({"prepare": prepare, "fill": fill, "check": check, "drain": drain, "insert": insert, "latency": latency})
