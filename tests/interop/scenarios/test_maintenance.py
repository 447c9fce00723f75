"""TestMaintenance: what the leader does for the whole schema."""

from __future__ import annotations

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_row
from tests.interop.scenarios.support import EACH, MAINTENANCE, get, insert, job, reaches, scenario

_LIVE = ["available", "pending", "running", "scheduled"]
_UNIQUE = {"by_args": True, "by_state": _LIVE}


@scenario("TestMaintenance/SchedulerUniqueConflict", EACH)
async def test_scheduler_unique_conflict(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    table = river.table("river_job")
    (holder,) = await insert(peer, job("", "held", unique=_UNIQUE, queue="unworked"))
    (late,) = await insert(peer, job("", "equal", unique=_UNIQUE, queue="unworked"))
    copy = f"""
        INSERT INTO {table} (state, kind, args, queue, max_attempts, scheduled_at, unique_key, unique_states)
        SELECT 'retryable', kind, args, queue, max_attempts, now() - $2::int * interval '1 second', unique_key, unique_states
        FROM {table} WHERE id = $1 RETURNING id"""
    conflicting = await connection.fetchval(copy, holder["id"], 5)
    first = await connection.fetchval(copy, late["id"], 9)
    await connection.execute(f"UPDATE {table} SET state = 'retryable', scheduled_at = now() WHERE id = $1", late["id"])
    await peer.call("start")
    for job_id in (conflicting, late["id"]):
        row = await reaches(peer, job_id, "discarded", MAINTENANCE)
        assert row["metadata"] == {"unique_key_conflict": "scheduler_discarded"}
        assert row["finalized_at"] is not None
    assert (await raw_row(connection, river, first))["state"] == "available"
    assert await get(peer, holder["id"]) == holder
