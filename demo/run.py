"""Enqueues the library, asks for rescans while it is worked, and watches until the fleet is gone again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from rich.live import Live
from rich.table import Table

from demo.summary import Outcome, Summary, percentile
from demo.tree import Seen, Tree, changed_between, differences, queue_of, walk
from demo.watch import Fleet
from devcluster import Cluster, DevclusterError
from devcluster.progress import say
from library.jobs import LibraryScanArgs
from library.store import create_tables
from rivermill import Client, InsertOpts, InsertParams

LIBRARY = Path("/usr")
IN_POD = "/library"
_BATCH = 5_000
_LIMIT_SECONDS = 900.0


async def scan_library(cluster: Cluster, url: str, before: Tree) -> tuple[Summary, Outcome]:
    """Run the main job and measure it.

    Raises:
        DevclusterError: it does not come to an end.
    """
    connection = await asyncpg.connect(url)
    fleet = Fleet(cluster)
    summary = Summary()
    try:
        await create_tables(connection)
        library = uuid4()
        await connection.execute("INSERT INTO library.library (id, root) VALUES ($1, $2)", library, IN_POD)
        async with Client(url) as client:
            await _work(client, connection, cluster, fleet, before, library, summary)
        await _figures(connection, summary)
        outcome = await _verify(connection, fleet, before, library)
    finally:
        fleet.close()
        await connection.close()
    return summary, outcome


async def _work(
    client: Client, connection: Any, cluster: Cluster, fleet: Fleet, before: Tree, library: UUID, summary: Summary
) -> None:
    jobs = [
        InsertParams(LibraryScanArgs(library, directory=directory), InsertOpts(queue=queue_of(files)))
        for directory, files in before.directories.items()
    ]
    say(f"enqueueing {len(jobs)} directories with {before.files} files")
    started = 0.0
    for offset in range(0, len(jobs), _BATCH):
        await client.insert_many(jobs[offset : offset + _BATCH])
        started = started or time.time()
    clock, view = time.monotonic(), _View()
    listable = [directory for directory, files in before.directories.items() if files]
    rescan_at = time.monotonic() + 1
    with view:
        while True:
            summary.pods_killed_busy += await fleet.busy_deletions(connection)
            left = await connection.fetchval("SELECT count(*) FROM river_job WHERE finalized_at IS NULL")
            if left and time.monotonic() >= rescan_at:
                rescan_at += 1
                directory = random.choice(listable)
                opts = InsertOpts(queue="high_priority")
                await client.insert(LibraryScanArgs(library, full_scan=True, directory=directory), opts)
            if not left and fleet.replicas == 0 and not fleet.ready:
                break
            if time.monotonic() - clock > _LIMIT_SECONDS:
                raise DevclusterError(f"{left} jobs are left after {_LIMIT_SECONDS:.0f} s")
            view.show(await _row(connection, cluster, fleet, clock))
            await asyncio.sleep(0.25)
    summary.pods_killed_busy += await fleet.busy_deletions(connection)
    summary.seconds = round(time.monotonic() - clock, 1)
    summary.peak_pods = fleet.peak
    if fleet.replicas_written_at:
        summary.write_replicas_seconds = round(max(0.0, fleet.replicas_written_at - started), 3)
    if fleet.first_ready_at:
        summary.first_pod_seconds = round(fleet.first_ready_at - started, 3)


async def _row(connection: Any, cluster: Cluster, fleet: Fleet, clock: float) -> dict[str, str]:
    numbers = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'available') AS waiting, count(*) FILTER (WHERE state = 'running') AS running, "
        "count(*) FILTER (WHERE state = 'completed') AS completed, "
        "extract(epoch FROM now() - min(scheduled_at) FILTER (WHERE state = 'available'))::float8 AS oldest FROM river_job"
    )
    path = "jsonpath={.status.decision.sentence}"
    sentence = (await asyncio.to_thread(cluster.kubectl, "get", "jobqueue", "library", "-o", path, check=False)).stdout
    return {
        "time": f"{time.monotonic() - clock:.0f} s",
        "waiting": str(numbers["waiting"]),
        "running": str(numbers["running"]),
        "completed": str(numbers["completed"]),
        "pods": f"{sum(fleet.ready.values())}/{fleet.replicas}",
        "oldest": f"{numbers['oldest'] or 0:.1f} s",
        "operator": sentence,
    }


class _View:
    """A table on a terminal, a line every two seconds elsewhere."""

    def __init__(self) -> None:
        self._live = Live(refresh_per_second=4) if sys.stderr.isatty() else None
        self._said = 0.0

    def __enter__(self) -> None:
        if self._live:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, row: dict[str, str]) -> None:
        """Show the numbers of this moment."""
        if self._live:
            table = Table(*row)
            table.add_row(*row.values())
            self._live.update(table)
        elif time.monotonic() - self._said > 2:
            self._said = time.monotonic()
            say(" | ".join(f"{key} {value}" for key, value in row.items() if key != "time"))


async def _figures(connection: Any, summary: Summary) -> None:
    states = dict(await connection.fetch("SELECT state::text, count(*) FROM river_job GROUP BY 1"))
    summary.jobs = sum(states.values())
    summary.completed = states.get("completed", 0)
    summary.discarded = states.get("discarded", 0)
    summary.lost = summary.jobs - summary.completed - summary.discarded - states.get("cancelled", 0)
    summary.files = await connection.fetchval("SELECT count(*) FROM library.file")
    summary.retried = await connection.fetchval(
        "SELECT count(*) FROM river_job WHERE attempt > 1 OR cardinality(attempted_by) > 1"
    )
    rows = await connection.fetch(
        "SELECT queue, array_agg(extract(epoch FROM attempted_at - scheduled_at)::float8) AS waits FROM river_job "
        "WHERE cardinality(attempted_by) = 1 GROUP BY queue ORDER BY queue"
    )
    summary.wait_p50_seconds = {row["queue"]: percentile(row["waits"], 0.5) for row in rows}
    summary.wait_p95_seconds = {row["queue"]: percentile(row["waits"], 0.95) for row in rows}


async def _verify(connection: Any, fleet: Fleet, before: Tree, library: UUID) -> Outcome:
    say("comparing the file table with a plain walk of the tree")
    after = await asyncio.to_thread(walk, LIBRARY, _limit())
    recorded: dict[str, dict[bytes, Seen]] = {}
    for row in await connection.fetch(
        "SELECT directory, name, size, mtime_ns, problem FROM library.file WHERE library_id = $1", library
    ):
        seen = Seen(row["size"], row["mtime_ns"], row["problem"] is None)
        recorded.setdefault(os.fsdecode(row["directory"]), {})[row["name"]] = seen
    changed = changed_between(before, after)
    for directory, name in sorted(changed)[:20]:
        say(f"left out, since it changed meanwhile: {directory}/{os.fsdecode(name)}")
    wrong = differences(before, recorded, changed)
    for directory, name, problem in wrong[:20]:
        say(f"{problem}: {directory}/{os.fsdecode(name)}")
    twice = await connection.fetchval(
        "SELECT count(*) FROM (SELECT 1 FROM library.scan GROUP BY job_id HAVING count(*) > 1) AS t"
    )
    return Outcome(twice, fleet.replicas + len(fleet.ready), len(wrong))


def _limit() -> int | None:
    """Directories to take, from DEMO_LIMIT; None is all."""
    text = os.environ.get("DEMO_LIMIT", "")
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise DevclusterError(f"DEMO_LIMIT {text!r}: use a whole number of directories")
    return int(text)


def first_walk() -> Tree:
    """The tree before anything runs."""
    say(f"walking {LIBRARY}")
    return walk(LIBRARY, _limit())


def write(summary: Summary, path: Path) -> None:
    """Write the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary.to_json(), indent=2) + "\n", encoding="utf-8")
