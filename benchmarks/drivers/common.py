"""What the Python drivers share: standard library only, since each runs in the environment of the system that it drives.

A driver is called as ``DRIVER MODE --url URL --jobs N …`` and prints one JSON object. Modes: ``prepare`` makes the tables,
``history`` fills them with finished jobs, ``fill`` inserts jobs that are due, ``drain`` works them, ``insert`` and ``latency``
measure inserts and starts, ``check`` counts the jobs in the database by what has become of them.
Connections that only watch are named ``WATCHER``, so that they are not counted as the system's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Mode = Callable[[argparse.Namespace], Awaitable[Figures]]

WATCHER = "benchmark watcher"
_FILL_BATCH = 1000


class Drain:
    """Counts jobs as they begin and end, and the time since the first began.

    Args:
        jobs: how many there are.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs, self.ran, self.spent = jobs, 0, 0.0
        self.all_ended = asyncio.Event()
        self.first = 0.0
        self._cpu = time.process_time()

    def cpu_seconds(self) -> float:
        """CPU time of this process since this was made."""
        return time.process_time() - self._cpu

    def note(self) -> None:
        """The body of a job that does nothing."""
        if not self.first:
            self.first = time.perf_counter()
        self.ran += 1
        if self.ran == self.jobs:
            self.all_ended.set()

    async def work(self, sleep: float) -> None:
        """A job's body, which sleeps for so many seconds if it is more than none."""
        if sleep:
            began = time.perf_counter()
            self.first = self.first or began
            await asyncio.sleep(sleep)
            self.spent += time.perf_counter() - began
        self.note()

    async def figures(self, slots: int, unfinished: Callable[[], Awaitable[Any]]) -> Figures:
        """Wait until every job has ended and is finished in the table, and say how long that took."""
        await self.all_ended.wait()
        seconds = await until_finished(unfinished) - self.first
        return {
            "per_second": self.jobs / seconds,
            "of_slots": self.spent / seconds / slots,
            "client_us": self.cpu_seconds() / self.jobs * 1e6,
            "ran": self.ran,
        }


class Starts:
    """Times of inserts and of the starts that they lead to.

    Args:
        options: how many jobs, how many are inserted a second, and how many seconds each takes.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.called, self.returned, self.started = ([0.0] * options.jobs for _ in range(3))
        self.ran = 0

    async def work(self, num: int) -> None:
        """A job's body."""
        self.started[num] = time.perf_counter()
        if self._options.sleep:
            await asyncio.sleep(self._options.sleep)
        self.ran += 1

    async def figures(self, insert: Callable[[int], Awaitable[Any]]) -> Figures:
        """Insert at a steady rate, wait for all to end, and say how long each took to start."""
        await asyncio.sleep(1.0)
        begin = time.perf_counter()
        for num in range(self._options.jobs):
            await asyncio.sleep(max(0.0, begin + num / self._options.rate - time.perf_counter()))
            self.called[num] = time.perf_counter()
            await insert(num)
            self.returned[num] = time.perf_counter()
        while self.ran < self._options.jobs:
            await asyncio.sleep(0.01)
        pairs = list(zip(self.called, self.returned, self.started, strict=True))
        return {
            "call_ms": [1000 * (started - called) for called, _, started in pairs],
            "commit_ms": [1000 * (started - returned) for _, returned, started in pairs],
            "ran": self.ran,
        }


async def until_finished(unfinished: Callable[[], Awaitable[Any]]) -> float:
    """Look at the table until nothing is left to do, and return when the look began that saw it: one may take long."""
    looked_at = time.perf_counter()
    while await unfinished():
        await asyncio.sleep(0.005)
        looked_at = time.perf_counter()
    return looked_at


async def timed_inserts(jobs: int, batch: int, insert: Callable[[range], Awaitable[Any]]) -> Figures:
    """Insert jobs in batches, in turn; the first, which connects and prepares, is not timed unless it is the only one."""
    warm_up = batch if batch < jobs else 0
    if warm_up:
        await insert(range(warm_up))
    cpu, begin = time.process_time(), time.perf_counter()
    for first in range(warm_up, jobs, batch):
        await insert(range(first, min(first + batch, jobs)))
    seconds, timed = time.perf_counter() - begin, jobs - warm_up
    return {"per_second": timed / seconds, "client_us": (time.process_time() - cpu) / timed * 1e6, "ran": jobs}


def tally(counts: Mapping[str, int], *, waiting: str, done: str) -> Figures:
    """How many jobs wait, are done, and are neither, which none should be.

    Args:
        counts: jobs in each state, in the system's own words.
        waiting: the state of jobs that have never run.
        done: the state of jobs that have ended well.
    """
    other = sum(number for state, number in counts.items() if state not in (waiting, done))
    return {"waiting": counts.get(waiting, 0), "done": counts.get(done, 0), "other": other}


def options() -> argparse.Namespace:
    """The arguments that every driver takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("prepare", "history", "fill", "drain", "insert", "latency", "check"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--sleep", type=float, default=0.0)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--pool", type=int, default=0)
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--first-claim", type=int, default=1000)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--most-at-once", type=int, default=None)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--watch-memory", action="store_true")
    parser.add_argument("--command", action="store_true")
    parser.add_argument("--storage", default="")
    parser.add_argument("--outgoing-interval", type=float, default=None)
    return parser.parse_args()


def run(modes: dict[str, Mode], in_loop: Callable[[Any], Figures] = asyncio.run) -> None:
    """Run the chosen mode and print what it measured; ``fill`` inserts in batches where a driver has no other way.

    Args:
        modes: what there is to do.
        in_loop: runs a coroutine, in the event loop that the system itself has its workers run in.
    """
    chosen = options()
    if chosen.mode == "fill" and "fill" not in modes:
        chosen.mode, chosen.batch = "insert", _FILL_BATCH
    if chosen.mode not in modes:
        sys.exit(f"no mode {chosen.mode} here")
    figures = in_loop(modes[chosen.mode](chosen))
    figures.setdefault("rss_mb", most_rss_mb())
    print(json.dumps(figures))


def most_rss_mb(process: int | str = "self") -> float:
    """The most memory that a process has had, in MB; what getrusage says begins with that of the harness that forked it."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
