"""Drives Oban for Python (the open-source part) over psycopg; ``--slots`` is its queue's limit."""

from __future__ import annotations

import argparse
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from common import Drain, Figures, Starts, run, tally, timed_inserts
from oban import Oban, worker
from oban.schema import install
from psycopg_pool import AsyncConnectionPool
from with_psycopg import some, states

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


def _job(number: int) -> Any:
    return Benchmark.new({"num": number})  # type: ignore[attr-defined]  # which the decorator adds


@asynccontextmanager
async def _pool(options: argparse.Namespace) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(options.url, min_size=4, max_size=10, open=False) as pool:
        yield pool


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    async with _pool(options) as pool:
        await install(pool)
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them."""
    return tally(await states(options.url, "oban_jobs", "state"), waiting="available", done="completed")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count = Drain(options.jobs)
    _body[:] = [lambda _: count.work(options.sleep)]
    async with _pool(options) as pool:
        oban = Oban(pool=pool, queues={"default": options.slots})
        await oban.start()
        unfinished = functools.partial(some, options.url, "oban_jobs", "state IN ('available', 'executing')")
        figures = await count.figures(options.slots, unfinished)
        await oban.stop()
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    async with _pool(options) as pool, Oban(pool=pool) as oban:

        async def some(numbers: range) -> None:
            await oban.enqueue_many([_job(number) for number in numbers])

        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts = Starts(options)
    _body[:] = [starts.work]
    async with _pool(options) as pool:
        oban = Oban(pool=pool, queues={"default": options.slots})
        await oban.start()
        figures = await starts.figures(lambda num: oban.enqueue(_job(num)))
        await oban.stop()
    return figures


if __name__ == "__main__":
    import oban_driver  # jobs are found by this name, so what is measured must be in the module of this name

    modes = {mode: getattr(oban_driver, mode) for mode in ("prepare", "check", "drain", "insert", "latency")}
    run(modes, uvloop.run)  # as its own command does
