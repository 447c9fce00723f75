"""Limits of queues that River for Go works, too: ours keep to them, count what Go runs, and take them from Go."""

from __future__ import annotations

import asyncio
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.scenarios.support import MAINTENANCE, get, insert, job, reaches, until

_OURS, _GOS = "conformance_echo", "conformance_echo_peer"
#: Each works what the other leaves, so that it is certain who runs what.
_GO: dict[str, Any] = {"client_id": "go", "worker_kinds": [_GOS], "fetch_only_known_kinds": True, "max_workers": 40}
_PYTHON: dict[str, Any] = {
    "worker_kinds": [_OURS],
    "fetch_only_known_kinds": True,
    "fetch_poll_interval_ms": 200,
    "leader_election_disabled": True,
    "max_workers": 10,
}


async def _give_to_go(connection: Connection, schema: Schema) -> None:
    """Every insert of the contract has one kind; what is there now gets the one that Go works."""
    await connection.execute(f"UPDATE {schema.table('river_job')} SET kind = $1", _GOS)


async def _all_done(connection: Connection, schema: Schema, kind: str) -> bool:
    sql = f"SELECT bool_and(state = 'completed') FROM {schema.table('river_job')} WHERE kind = $1"
    return bool(await connection.fetchval(sql, kind))


async def _most_at_once(connection: Connection, schema: Schema, kind: str) -> int:
    """The most jobs of a kind that ran at once, by the times in their rows."""
    table = schema.table("river_job")
    sql = f"""
        SELECT max((SELECT count(*) FROM {table} AS other
            WHERE other.kind = one.kind AND other.attempted_at <= one.attempted_at AND other.finalized_at > one.attempted_at))
        FROM {table} AS one WHERE kind = $1"""
    return int(await connection.fetchval(sql, kind))


async def test_jobs_that_go_runs_count(spawn: Spawn, connection: Connection, schema: Schema) -> None:
    go, *ours = await asyncio.gather(spawn("go"), spawn("python"), spawn("python"))
    held = await insert(go, job("barrier_wait", "gate"), job("barrier_wait", "gate"))
    await _give_to_go(connection, schema)
    await go.call("start", **_GO)
    for row in held:
        await reaches(go, row["id"], "running")
    await go.call("queue", action="update", name="default", metadata={"concurrency": {"global_limit": 3}})
    for number, peer in enumerate(ours):
        await peer.call("start", client_id=f"python {number}", **_PYTHON)
    await insert(go, *(job("sleep", f"job {number}", 5) for number in range(40)))
    await until(lambda: _all_done(connection, schema, _OURS), MAINTENANCE)
    assert await _most_at_once(connection, schema, _OURS) == 1
    await go.call("queue", action="update", name="default", metadata={"concurrency": {"global_limit": 2}})
    (waiting,) = await insert(go, job())
    await asyncio.sleep(1)  # several polls
    assert (await get(go, waiting["id"]))["attempt"] == 0
    await go.call("release", name="gate")
    await reaches(go, waiting["id"], "completed")


async def test_a_rate_holds_for_ours_and_leaves_go_alone(spawn: Spawn, connection: Connection, schema: Schema) -> None:
    go, *ours = await asyncio.gather(spawn("go"), spawn("python"), spawn("python"))
    await insert(go, *(job("sleep", f"Go's {number}", 1) for number in range(60)))
    await _give_to_go(connection, schema)
    await go.call("start", **_GO)
    await until(lambda: _all_done(connection, schema, _GOS))
    await go.call("queue", action="update", name="default", metadata={"rate_limit": {"limit": 5, "period_seconds": 0.5}})
    await insert(go, *(job("", f"job {number}") for number in range(28)))
    for number, peer in enumerate(ours):
        await peer.call("start", client_id=f"python {number}", **_PYTHON)
    await until(lambda: _all_done(connection, schema, _OURS), 60)
    starts = await connection.fetch(
        f"SELECT count(*) AS jobs FROM {schema.table('river_job')} WHERE kind = $1 "
        "GROUP BY date_bin('0.5 s', attempted_at, to_timestamp(0))",
        _OURS,
    )
    assert max(row["jobs"] for row in starts) <= 5
    assert len(starts) >= 6
