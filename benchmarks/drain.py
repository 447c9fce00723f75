"""How fast one process drains jobs that were inserted before, beside what the two statements alone can do.

The ceiling drives the worker's own claim and completion statements on two connections, without any worker code, with
batches of as many jobs as the worker has slots, and of 1,000. Rounds are interleaved, so that what else the computer does
hits all alike; the figures to trust are the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import asyncpg

from benchmarks.server import check_all_completed, migrate, refill, server
from rivermill import Client, Job, Workers
from rivermill.completer import plain_sql
from rivermill.producer import claim_sql
from rivermill.schema import Schema

ROOT = Path(__file__).resolve().parent.parent
_CLIENT = "ceiling"


@dataclass
class Noop:
    """A job that does nothing, or sleeps."""

    kind: ClassVar[str] = "benchmark"
    num: int = 0


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    name: str
    jobs: int
    slots: int
    sleep: float = 0.0
    ceiling: bool = False


CASES = (
    Case("ceiling, batches of 1000", 100_000, 1_000, ceiling=True),
    Case("worker, 1000 slots", 100_000, 1_000),
    Case("ceiling, batches of 100", 50_000, 100, ceiling=True),
    Case("worker, 100 slots", 50_000, 100),
    Case("worker, 100 slots, jobs of 10 ms", 20_000, 100, sleep=0.01),
)


async def _drive_statements(url: str, case: Case) -> dict[str, float]:
    claimer, completer = await asyncpg.connect(url), await asyncpg.connect(url)
    claim, complete = claim_sql(Schema()), plain_sql(Schema())
    for connection in (claimer, completer):
        await connection.execute("SET jit = off")
    batches: asyncio.Queue[list[int]] = asyncio.Queue(2)

    async def finish() -> None:
        done = 0
        while done < case.jobs:
            ids = await batches.get()
            await completer.execute(complete, sorted(ids), _CLIENT)
            done += len(ids)

    started = time.perf_counter()
    finishing = asyncio.create_task(finish())
    claimed = 0
    while claimed < case.jobs:
        records = await claimer.fetch(claim, "default", case.slots, _CLIENT)
        claimed += len(records)
        await batches.put([record["id"] for record in records])
    await finishing
    seconds = time.perf_counter() - started
    await claimer.close()
    await completer.close()
    return {"per_second": case.jobs / seconds}


async def _drive_worker(url: str, case: Case) -> dict[str, float]:
    workers = Workers()
    spent = ended = 0.0
    first = 0.0

    @workers.work
    async def work(_: Job[Noop]) -> None:
        nonlocal spent, ended, first
        began = time.perf_counter()
        first = first or began
        if case.sleep:
            await asyncio.sleep(case.sleep)
        spent += time.perf_counter() - began
        ended += 1

    connection = await asyncpg.connect(url)
    client = Client(url, workers=workers, queues={"default": case.slots})
    cpu = time.process_time()
    await client.start()
    while ended < case.jobs:
        await asyncio.sleep(0.005)
    while await connection.fetchval("SELECT EXISTS (SELECT FROM river_job WHERE state IN ('available', 'running'))"):
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - first
    cpu = time.process_time() - cpu
    await client.stop()
    await connection.close()
    return {
        "per_second": case.jobs / seconds,
        "of_slots": spent / seconds / case.slots,
        "client_us": cpu / case.jobs * 1e6,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _in_child(url: str, case: Case, runner: Callable[[Coroutine[Any, Any, Any]], Any], pipe: Any) -> None:
    gc.collect()
    pipe.send(runner(_drive_statements(url, case) if case.ceiling else _drive_worker(url, case)))


def measure(url: str, case: Case) -> dict[str, float]:
    """Measure one case in a process of its own."""
    asyncio.run(refill(url, case.jobs))
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(url, case, asyncio.run, there))
    child.start()
    there.close()
    try:
        result: dict[str, float] = here.recv()
    finally:
        child.join(timedelta(minutes=1).total_seconds())
    asyncio.run(check_all_completed(url, case.jobs))
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run and write ``build/drain.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")))
    options = parser.parse_args(arguments)
    rounds: dict[str, list[dict[str, float]]] = {case.name: [] for case in CASES}
    with server() as postgres:
        migrate(postgres.url())
        for number in range(options.rounds):
            for case in CASES:
                rounds[case.name].append(measure(postgres.url(), case))
                print(number, case.name, {k: round(v, 3) for k, v in rounds[case.name][-1].items()}, flush=True)
    _write({name: _summary(results) for name, results in rounds.items()})
    return 0


def _summary(results: list[dict[str, float]]) -> dict[str, Any]:
    return {
        key: {
            "median": round(statistics.median(r[key] for r in results), 3),
            "least": round(min(r[key] for r in results), 3),
            "most": round(max(r[key] for r in results), 3),
        }
        for key in results[0]
    }


def _write(figures: dict[str, Any]) -> None:
    for slots in (1000, 100):
        ours, most = figures[f"worker, {slots} slots"], figures[f"ceiling, batches of {slots}"]
        ours["of_ceiling"] = round(ours["per_second"]["median"] / most["per_second"]["median"], 3)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "drain.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    sys.exit(main())
