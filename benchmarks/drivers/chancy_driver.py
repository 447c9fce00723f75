"""Drives chancy with its asynchronous executor and eager polling.

``--slots`` is its concurrency, ``--outgoing-interval`` the seconds between its writes of what has become of jobs.
"""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Callable
from typing import Any

from chancy import Chancy, Queue, Worker, job
from common import Drain, Figures, Starts, run, tally, timed_inserts
from with_psycopg import some, states

_SILENT = logging.getLogger("benchmarks")
_SILENT.setLevel(logging.CRITICAL)
#: What the job does: it must be a module's function, so it finds here what is measured.
_body: list[Callable[[int], Any]] = []


@job(queue="default")
async def benchmark(*, num: int) -> None:
    """The job."""
    result = _body[0](num)
    if result is not None:
        await result


def _app(options: argparse.Namespace) -> Chancy:
    return Chancy(options.url, log=_SILENT, max_connection_pool_size=10)


async def _declare(app: Chancy, options: argparse.Namespace) -> None:
    executor = Chancy.Executor.Async
    queue = Queue("default", concurrency=options.slots, executor=executor, polling_interval=1, eager_polling=True)
    await app.declare(queue, upsert=True)


def _worker(app: Chancy, options: argparse.Namespace) -> Worker:
    worker = Worker(app, register_signal_handlers=False)
    if options.outgoing_interval is not None:
        worker.send_outgoing_interval = options.outgoing_interval
    return worker


async def prepare(options: argparse.Namespace) -> Figures:
    """Make its tables."""
    async with _app(options) as app:
        await app.migrate()
    return {}


async def check(options: argparse.Namespace) -> Figures:
    """Count jobs by what has become of them."""
    return tally(await states(options.url, "chancy_jobs", "state"), waiting="pending", done="succeeded")


async def drain(options: argparse.Namespace) -> Figures:
    """Work jobs that are there already."""
    count = Drain(options.jobs)
    _body[:] = [lambda _: count.work(options.sleep)]
    async with _app(options) as app:
        await _declare(app, options)
        worker = _worker(app, options)
        await worker.start()
        unfinished = functools.partial(some, options.url, "chancy_jobs", "state IN ('pending', 'running')")
        figures = await count.figures(options.slots, unfinished)
        await worker.stop()
    return figures


async def insert(options: argparse.Namespace) -> Figures:
    """Insert jobs in batches."""
    async with _app(options) as app:

        async def some(numbers: range) -> None:
            jobs = [benchmark.job.with_kwargs(num=number) for number in numbers]
            async for _ in app.push_many(jobs, batch_size=options.batch):
                pass

        return await timed_inserts(options.jobs, options.batch, some)


async def latency(options: argparse.Namespace) -> Figures:
    """Time inserts to starts."""
    starts = Starts(options)
    _body[:] = [starts.work]
    async with _app(options) as app:
        await _declare(app, options)
        worker = _worker(app, options)
        await worker.start()
        figures = await starts.figures(lambda num: app.push(benchmark.job.with_kwargs(num=num)))
        await worker.stop()
    return figures


if __name__ == "__main__":
    import chancy_driver  # jobs are found by this name, so what is measured must be in the module of this name

    run({mode: getattr(chancy_driver, mode) for mode in ("prepare", "check", "drain", "insert", "latency")})
