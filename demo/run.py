"""Enqueues the library, asks for rescans while it is worked, and watches until the fleet is gone again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from demo import verify
from demo.summary import Outcome, Summary
from demo.tree import Tree, queue_of, walk
from demo.view import Moment, View
from demo.watch import Fleet
from devcluster import Cluster, DevclusterError
from devcluster.progress import say
from library.jobs import LibraryScanArgs
from library.paths import encode_path
from library.store import create_tables
from rivermill import Client, InsertOpts, InsertParams, RivermillError

LIBRARY = Path("/usr")
IN_POD = "/library"
_BATCH = 5_000
_LIMIT_SECONDS = 900.0
_RESCAN_SECONDS = 1.0
_STEP_SECONDS = 0.25


def directories_limit(text: str) -> int | None:
    """Directories to take, from the text of DEMO_LIMIT; None is all.

    Raises:
        DevclusterError: it is no whole number above zero.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise DevclusterError(f"DEMO_LIMIT {text!r}: use a whole number of directories, 1 or more")
    return int(text)


def check_limit() -> None:
    """Complain of a wrong DEMO_LIMIT before anything is started.

    Raises:
        DevclusterError: it is no whole number above zero.
    """
    _limit()


def first_walk() -> Tree:
    """The tree before the first job."""
    say(f"walking {LIBRARY}")
    return walk(LIBRARY, _limit())


def _limit() -> int | None:
    return directories_limit(os.environ.get("DEMO_LIMIT", ""))


async def scan_library(cluster: Cluster, url: str, before: Tree) -> tuple[Summary, Outcome]:
    """Run the main job and measure it.

    Raises:
        DevclusterError: it does not come to an end.
    """
    fleet = Fleet(cluster)
    try:
        connection = await asyncpg.connect(url)
        try:
            return await _measure(connection, Client(url), fleet, before)
        finally:
            await connection.close(timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RivermillError) as error:
        raise DevclusterError(f"the database failed while the demo ran: {error}") from error
    finally:
        fleet.close()


async def _measure(connection: Any, client: Client, fleet: Fleet, before: Tree) -> tuple[Summary, Outcome]:
    await create_tables(connection)
    library, summary = uuid4(), Summary()
    await connection.execute("INSERT INTO library.library (id, root) VALUES ($1, $2)", library, IN_POD)
    async with client:
        started, summary.jobs = await _enqueue(client, library, before)
        clock = time.monotonic()
        await _watch(client, connection, fleet, before, library, summary)
    summary.seconds = round(time.monotonic() - clock, 1)
    summary.peak_pods = fleet.peak
    if fleet.replicas_written_at:
        summary.write_replicas_seconds = round(fleet.replicas_written_at - started, 3)
    if fleet.first_ready_at:
        summary.first_pod_seconds = round(fleet.first_ready_at - started, 3)
    summary.pods_killed_busy = await fleet.busy_deletions(connection)
    await verify.figures(connection, summary)
    say("comparing the file table with a plain walk of the tree")
    after = await asyncio.to_thread(walk, LIBRARY, _limit())
    wrong = await verify.compare(connection, library, before, after)
    return summary, Outcome(await verify.executed_twice(connection), fleet.replicas + len(fleet.ready), wrong)


async def _enqueue(client: Client, library: UUID, tree: Tree) -> tuple[float, int]:
    """Insert one job a directory; returns when the first was committed (seconds since the epoch), and how many there are.

    The first goes alone: a batch is committed well before its rows have come back, and the operator is faster than that.
    """
    jobs = [
        InsertParams(LibraryScanArgs(library, directory=encode_path(directory)), InsertOpts(queue=queue_of(files)))
        for directory, files in tree.directories.items()
    ]
    say(f"enqueueing {len(jobs):,} directories with {tree.files:,} files, and a rescan of one a second until they are done")
    await client.insert_many(jobs[:1])
    committed = time.time()
    for offset in range(1, len(jobs), _BATCH):
        await client.insert_many(jobs[offset : offset + _BATCH])
    return committed, len(jobs)


async def _watch(client: Client, connection: Any, fleet: Fleet, tree: Tree, library: UUID, summary: Summary) -> None:
    """Show the fleet, and ask for a rescan every second, until all is done and no pod is left."""
    started = time.monotonic()
    rescan_at = started + _RESCAN_SECONDS
    listable = [directory for directory, files in tree.directories.items() if files]
    with View() as view:
        while True:
            fleet.check()
            moment, left = await _look(connection, fleet, time.monotonic() - started)
            view.show(moment)
            if not left and fleet.replicas == 0 and not fleet.ready:
                break
            if left and listable and time.monotonic() >= rescan_at:
                rescan_at += _RESCAN_SECONDS
                args = LibraryScanArgs(library, full_scan=True, directory=encode_path(random.choice(listable)))
                await client.insert(args, InsertOpts(queue="high_priority"))
                summary.jobs += 1
                summary.rescans += 1
            if time.monotonic() - started > _LIMIT_SECONDS:
                raise DevclusterError(f"{left} jobs and {len(fleet.ready)} pods are left after {_LIMIT_SECONDS:.0f} s")
            await asyncio.sleep(_STEP_SECONDS)


async def _look(connection: Any, fleet: Fleet, seconds: float) -> tuple[Moment, int]:
    """What to show, and how many jobs are not over."""
    row = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE state = 'available') AS waiting, count(*) FILTER (WHERE state = 'running') AS running, "
        "count(*) FILTER (WHERE state = 'completed') AS completed, count(*) FILTER (WHERE finalized_at IS NULL) AS left, "
        "coalesce(extract(epoch FROM now() - min(scheduled_at) FILTER (WHERE state = 'available')), 0)::float8 AS oldest "
        "FROM river_job"
    )
    ready = sum(fleet.ready.values())
    moment = Moment(
        seconds, row["waiting"], row["running"], row["completed"], ready, fleet.replicas, row["oldest"], fleet.sentence
    )
    return moment, row["left"]
