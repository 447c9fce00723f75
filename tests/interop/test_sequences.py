"""Sequences whose jobs are worked by River for Go and by ours in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from rivermill import Client, InsertOpts, InsertParams, SequenceOpts
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.adapter.echo import Echo, EchoPeer
from tests.interop.conftest import Spawn
from tests.interop.peers import Peer
from tests.interop.scenarios.support import MAINTENANCE, RESCUE, get, insert, job, reaches, until

_OF = SequenceOpts(by_args=["message"], exclude_kind=True)
_BOTH = [Echo.kind, EchoPeer.kind]


@pytest.fixture
async def enqueue(dsn: str, schema: Schema) -> Any:
    """Inserts jobs of one sequence, the first, third, … for Go, the others for ours."""
    async with Client(dsn, schema=schema) as client:

        async def enqueue_all(of: str, *behaviors: str, sequence: SequenceOpts = _OF, **opts: Any) -> list[int]:
            chosen = InsertOpts(sequence=sequence, **opts)
            kinds = (EchoPeer, Echo)
            jobs = [InsertParams(kinds[n % 2](behavior, 5, of), chosen) for n, behavior in enumerate(behaviors)]
            return [result.job.id for result in await client.insert_many(jobs)]

        yield enqueue_all


Enqueue = Callable[..., Awaitable[list[int]]]


async def _start(go: Peer, python: Peer, leader: Peer) -> None:
    for peer, kind in ((go, EchoPeer.kind), (python, Echo.kind)):
        await peer.call(
            "start",
            client_id=peer.name,
            worker_kinds=[kind],
            fetch_only_known_kinds=True,
            leader_election_disabled=peer is not leader,
        )


async def _rows(connection: Connection, schema: Schema, ids: list[int]) -> list[Any]:
    sql = f"SELECT state::text, attempted_at, attempted_by, finalized_at FROM {schema.table('river_job')} "
    return list(await connection.fetch(sql + "WHERE id = ANY($1::bigint[]) ORDER BY id", ids))


async def _ended(connection: Connection, schema: Schema, ids: list[int]) -> list[Any]:
    rows = await _rows(connection, schema, ids)
    return rows if all(row["finalized_at"] for row in rows) else []


def _in_turn(rows: list[Any]) -> None:
    """Each began after the one before it had ended."""
    ends: list[datetime] = [row["finalized_at"] for row in rows]
    starts: list[datetime] = [row["attempted_at"] for row in rows]
    assert all(start >= end for start, end in zip(starts[1:], ends, strict=False)), rows


@pytest.mark.parametrize("leads", ["go", "python"])
async def test_go_and_ours_in_turn(spawn: Spawn, connection: Connection, schema: Schema, enqueue: Enqueue, leads: str) -> None:
    go, python = await asyncio.gather(spawn("go"), spawn("python"))
    sequences = [await enqueue(of, *["sleep"] * 6) for of in "abc"]
    await _start(go, python, {"go": go, "python": python}[leads])
    for ids in sequences:
        rows = await until(partial(_ended, connection, schema, ids), MAINTENANCE)
        assert [row["attempted_by"] for row in rows] == [["go"], ["python"]] * 3
        _in_turn(rows)


async def test_what_go_ends_otherwise(spawn: Spawn, connection: Connection, schema: Schema, enqueue: Enqueue) -> None:
    """A job that Go discards halts its sequence until Go deletes it, and only its sequence; Go cancels one that waits."""
    go, python = await asyncio.gather(spawn("go"), spawn("python"))
    halted = await enqueue("a", "error", "sleep", max_attempts=1)
    others = await enqueue("b", "sleep", "sleep", "sleep", sequence=replace(_OF, continue_on_cancelled=True))
    assert (await go.call("cancel", id=others[1]))["state"] == "cancelled"
    await _start(go, python, python)
    await reaches(go, halted[0], "discarded")
    await until(partial(_ended, connection, schema, others), MAINTENANCE)
    (plain,) = await insert(go, job("sleep", "a", 5))  # River for Go inserts into no sequence
    await reaches(go, plain["id"], "completed")
    await asyncio.sleep(2.5)  # two looks of the leader
    assert (await get(go, halted[1]))["state"] == "pending"
    await go.call("delete", id=halted[0])
    await reaches(go, halted[1], "completed")


@pytest.mark.long
async def test_the_turn_of_a_job_whose_go_client_was_killed(
    spawn: Spawn, connection: Connection, schema: Schema, enqueue: Enqueue
) -> None:
    """It is kept until the job was rescued and has ended elsewhere."""
    go, python = await asyncio.gather(spawn("go"), spawn("python"))
    ids = await enqueue("gate", "barrier_wait", "sleep", "sleep")
    await go.call("start", client_id="go", worker_kinds=_BOTH, leader_election_disabled=True)
    await reaches(python, ids[0], "running")
    await go.kill()
    await python.call("release", name="gate")
    await python.call("start", client_id="python", worker_kinds=_BOTH, **RESCUE)
    rows = await until(partial(_ended, connection, schema, ids), 3 * MAINTENANCE)
    assert [row["attempted_by"] for row in rows] == [["go", "python"], ["python"], ["python"]]
    _in_turn(rows)
