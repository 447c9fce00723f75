"""Drives Rivermill, and its two hot statements alone: the ceiling of what any worker that uses them can reach."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress
from typing import Any

import asyncpg
from common import WATCHER, Drain, Figures, Starts, run, tally, timed_inserts
from rivermill_command import drain_by_command
from rivermill_worker import Noop, drain_by_processes, queue_names, rss_mb, watch_memory, working_client

from rivermill import Client, Job, Workers, event_loop
from rivermill.claims import claim_sql
from rivermill.completions import plain_sql
from rivermill.migrations import LINES, Migrator
from rivermill.migrations.storage import Storage
from rivermill.schema import Schema

_CLIENT = "ceiling"
_LEFT = "SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))"


async def _watcher(options: argparse.Namespace) -> Any:
    return await asyncpg.connect(options.url, server_settings={"application_name": WATCHER})


async def prepare(options: argparse.Namespace) -> Figures:
    """Make River's tables and ours; ``--storage`` is what of their storage is changed."""
    connection = await _watcher(options)
    for line in LINES:
        await Migrator(connection, Schema(), line).up()
    wanted = options.storage.split(",")
    await Storage(connection, Schema()).change(
        tuned=True if "tuned" in wanted else None,
        gin_indexes=False if "without-gin" in wanted else None,
        kind_index=False if "without-kind" in wanted else None,
    )
    await connection.close()
    return {}


async def history(options: argparse.Namespace) -> Figures:
    """Add finished jobs; their indexes are built behind them, which takes a tenth of the time."""
    connection = await _watcher(options)
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'river_job' AND indexname <> 'river_job_pkey'"
    )
    await connection.execute("SET maintenance_work_mem = '1GB'")
    for index in indexes:
        await connection.execute(f'DROP INDEX "{index["indexname"]}"')
    await connection.execute(
        "INSERT INTO river_job (kind, args, state, attempt, attempted_by, scheduled_at, attempted_at, finalized_at) "
        "SELECT 'history', jsonb_build_object('num', n), 'completed', 1, '{history}', at, at, at "
        "FROM generate_series(1, $1::int) AS n, "
        "LATERAL (SELECT now() - interval '1 hour' + n * interval '1 microsecond' AS at)",
        options.jobs,
    )
    for index in indexes:
        await connection.execute(index["indexdef"])
    await connection.close()
    return {}


async def fill(options: argparse.Namespace) -> Figures:
    """Insert jobs that are due, oldest first, spread over the queues."""
    connection = await _watcher(options)
    await connection.execute(
        "INSERT INTO river_job (kind, args, queue, scheduled_at) "
        "SELECT 'benchmark', jsonb_build_object('num', n), ($2::text[])[1 + n % cardinality($2::text[])], "
        "now() - interval '1 hour' + n * interval '1 microsecond' FROM generate_series(1, $1::int) AS n",
        options.jobs,
        queue_names(options),
    )
    await connection.close()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them; done are those that were completed at their first attempt."""
    connection = await _watcher(options)
    counts = await connection.fetch(
        "SELECT CASE WHEN state = 'completed' AND attempt <> 1 THEN 'again' ELSE state::text END, count(*) "
        "FROM river_job WHERE kind = 'benchmark' GROUP BY 1"
    )
    await connection.close()
    return tally(dict(counts), waiting="available", done="completed")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    if options.ceiling:
        return await _drive_statements(options)
    connection = await _watcher(options)
    if options.command:
        return await drain_by_command(options, connection, lambda: connection.fetchval(_LEFT))
    if options.processes > 1:
        return await drain_by_processes(options, lambda: connection.fetchval(_LEFT))
    count, samples = Drain(options.jobs), list[list[float]]()
    client = working_client(options, count)
    await client.start()
    watching = asyncio.create_task(watch_memory(count, samples)) if options.watch_memory else None
    figures = await count.figures(options.slots, lambda: connection.fetchval(_LEFT))
    if watching is not None:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        figures["memory"] = [*samples, [count.ran, rss_mb()]]
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
            await completer.execute(complete, sorted(ids), _CLIENT, [0.0] * len(ids))
            done += len(ids)

    cpu, started = time.process_time(), 0.0
    finishing = asyncio.create_task(finish())
    claimed = 0
    while claimed < options.jobs:
        size = options.slots if started else options.first_claim
        records = await claimer.fetch(claim, "default", size, _CLIENT)
        started = started or time.perf_counter()  # a worker's clock begins with its first job, after a claim for all its slots
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
                return (await client.insert(Noop(numbers[0]))).id
            jobs = [Noop(number) for number in numbers]
            if options.fast:
                return await client.insert_many_fast(jobs)
            return [result.id for result in await client.insert_many(jobs)]

        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts, at default settings."""
    workers, starts = Workers(), Starts(options)

    @workers.work
    async def work(job: Job[Noop]) -> None:
        await starts.work(job.args.num)

    client = Client(options.url, workers=workers, queues={"default": options.slots})
    await client.start()
    figures = await starts.figures(lambda number: client.insert(Noop(number)))
    await client.stop()
    return figures


if __name__ == "__main__":
    run({mode.__name__: mode for mode in (prepare, history, fill, check, drain, insert, latency)}, event_loop.run)
