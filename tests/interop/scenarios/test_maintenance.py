"""TestMaintenance: what the leader does for the whole schema."""

from __future__ import annotations

from functools import partial
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_row, raw_rows
from tests.interop.scenarios.support import BOTH_WAYS, EACH, MAINTENANCE, get, insert, job, reaches, scenario, until

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


@scenario("TestMaintenance/PeriodicUnique", BOTH_WAYS)
async def test_periodic_unique(peers: list[Peer], connection: Connection, river: Schema) -> None:
    first, second = peers
    options = {"periodic_run_on_start": True, "periodic_unique": True, "queues": ["unworked"]}

    async def inserted(message: str) -> list[dict[str, Any]]:
        return [row for row in await raw_rows(connection, river) if row["args"]["message"] == message]

    async def marked(number: int) -> bool:
        return len(await inserted("periodic marker")) == number

    for number, peer in enumerate((first, second), start=1):
        await peer.call("start", client_id=peer.name, **options)
        # It is inserted after the unique one, so by then that has been found to be there.
        await until(partial(marked, number), MAINTENANCE)
        (row,) = await inserted("periodic run on start")
        assert row["metadata"] == {"periodic": True, "river:periodic_job_id": "conformance-periodic"}
        assert (row["state"], row["attempt"], row["unique_key"] is not None) == ("available", 0, True)
        assert (await peer.call("stats"))["periodic_starts"] == 1
        await peer.call("stop")
