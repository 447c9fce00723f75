"""What works jobs in Rivermill's drains: one client, or one in each of several processes."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
from collections.abc import Awaitable, Callable
from ctypes import c_bool, c_long
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from common import Drain, Figures, most_rss_mb, until_finished

from rivermill import Client, Job, QueueConfig, Workers, event_loop

_LOOK_SECONDS = 0.02
_SAMPLE_SECONDS = 1.0
_PAGE_MB = resource.getpagesize() / 1024 / 1024


@dataclass
class Noop:
    """A job that does nothing, or sleeps."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0


def queue_names(options: argparse.Namespace) -> list[str]:
    """The queues that jobs are in."""
    return ["default"] if options.queues == 1 else [f"queue_{number}" for number in range(options.queues)]


def working_client(options: argparse.Namespace, count: Drain) -> Client:
    """A client with so many slots for all queues together, not started."""
    workers = Workers()

    @workers.work
    async def work(_: Job[Noop]) -> None:
        if options.sleep:
            await count.work(options.sleep)
        else:
            count.note()

    queues = {name: QueueConfig(max_workers=options.slots) for name in queue_names(options)}
    return Client(options.url, workers=workers, queues=queues, slots=options.slots)


def rss_mb() -> float:
    """The memory that this process has now, in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MB


async def watch_memory(count: Drain, samples: list[list[float]]) -> None:
    """Note the jobs that have run and the memory in MB, time and again, until cancelled."""
    while True:
        samples.append([count.ran, rss_mb()])
        await asyncio.sleep(_SAMPLE_SECONDS)


async def _work_until(options: argparse.Namespace, ran: Any, stop: Any) -> tuple[float, float, float]:
    count, parent = Drain(options.jobs), os.getppid()
    client = working_client(options, count)
    await client.start()
    while not stop.value and os.getppid() == parent:  # a parent that was killed says nothing more
        ran.value = count.ran
        await asyncio.sleep(_LOOK_SECONDS)
    used = count.cpu_seconds()
    await client.stop()
    ran.value = count.ran
    return count.first, used, most_rss_mb()


def _process(options: argparse.Namespace, ran: Any, stop: Any, results: Any) -> None:
    results.put(event_loop.run(_work_until(options, ran, stop)))


async def drain_by_processes(options: argparse.Namespace, unfinished: Callable[[], Awaitable[Any]]) -> Figures:
    """Work jobs that are there already in several processes, each with all the slots.

    Returns:
        As ``Drain.figures`` does; memory is that of the largest process.

    Raises:
        RuntimeError: a process has ended too early.
    """
    context = multiprocessing.get_context("spawn")
    stop, results = context.RawValue(c_bool, False), context.SimpleQueue()
    counters = [context.RawValue(c_long, 0) for _ in range(options.processes)]
    processes = [context.Process(target=_process, args=(options, ran, stop, results)) for ran in counters]
    for process in processes:
        process.start()
    while sum(ran.value for ran in counters) < options.jobs:
        if not all(process.is_alive() for process in processes):
            raise RuntimeError(f"one of {os.getpid()}'s worker processes has ended before all jobs had")
        await asyncio.sleep(_LOOK_SECONDS)
    end = await until_finished(unfinished)
    stop.value = True
    ended = [await asyncio.to_thread(results.get) for _ in processes]
    for process in processes:
        process.join()
    return {
        "per_second": options.jobs / (end - min(first for first, _, _ in ended if first)),
        "client_us": sum(used for _, used, _ in ended) / options.jobs * 1e6,
        "ran": sum(ran.value for ran in counters),
        "rss_mb": max(rss for _, _, rss in ended),
    }
