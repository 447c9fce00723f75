"""What the database says in the end, and whether it is what a plain walk sees."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from demo.summary import Summary
from demo.tree import Seen, Tree, changed_between, differences
from devcluster.progress import say
from library.paths import decode_path
from rivermill_operator.simulate.outcome import percentile

_SHOWN = 20


async def figures(connection: Any, summary: Summary) -> None:
    """Fill in what the tables tell of the jobs that were inserted."""
    states = dict(await connection.fetch("SELECT state::text, count(*) FROM river_job GROUP BY 1"))
    summary.completed = states.get("completed", 0)
    summary.discarded = states.get("discarded", 0)
    summary.lost = summary.jobs - summary.completed - summary.discarded - states.get("cancelled", 0)
    summary.files = await connection.fetchval("SELECT count(*) FROM library.file")
    # A claim that was given back unworked leaves a second name in attempted_by, and uses up no attempt.
    summary.retried = await connection.fetchval("SELECT count(*) FROM river_job WHERE attempt > 1")
    rows = await connection.fetch(
        "SELECT queue, array_agg(extract(epoch FROM attempted_at - scheduled_at)::float8) AS waits FROM river_job "
        "WHERE cardinality(attempted_by) = 1 GROUP BY queue ORDER BY queue"
    )
    summary.wait_p50_seconds = {row["queue"]: round(percentile(row["waits"], 0.5), 3) for row in rows}
    summary.wait_p95_seconds = {row["queue"]: round(percentile(row["waits"], 0.95), 3) for row in rows}


async def executed_twice(connection: Any) -> int:
    """Jobs whose work was done more than once."""
    sql = "SELECT count(*) FROM (SELECT 1 FROM library.scan GROUP BY job_id HAVING count(*) > 1) AS twice"
    twice: int = await connection.fetchval(sql)
    return twice


async def compare(connection: Any, library: UUID, before: Tree, after: Tree) -> int:
    """Say where the tables differ from the walk before, leaving out what changed until the walk after; returns how often."""
    changed = changed_between(before, after)
    for directory, name in sorted(changed)[:_SHOWN]:
        say(f"left out, since it changed meanwhile: {_text(directory, name)}")
    wrong = differences(before, await recorded(connection, library), changed)
    for directory, name, problem in wrong[:_SHOWN]:
        say(f"{problem}: {_text(directory, name)}")
    return len(wrong)


async def recorded(connection: Any, library: UUID) -> Tree:
    """The tree as the tables have it."""
    tree = Tree()
    for row in await connection.fetch(
        "SELECT DISTINCT ON (directory) directory, problem FROM library.scan WHERE library_id = $1 ORDER BY directory, id DESC",
        library,
    ):
        tree.directories[decode_path(row["directory"])] = {} if row["problem"] is None else None
    for row in await connection.fetch(
        "SELECT directory, name, size, mtime_ns, problem FROM library.file WHERE library_id = $1", library
    ):
        files = tree.directories.get(decode_path(row["directory"]))
        if files is not None:
            files[decode_path(row["name"])] = Seen(row["size"], row["mtime_ns"], row["problem"] is None)
    return tree


def _text(directory: bytes, name: bytes) -> str:
    return ascii(os.fsdecode(directory + b"/" + name))[1:-1]
