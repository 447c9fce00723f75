"""TestPerformance and TestSoak: how many transactions, connections and seconds the work takes, beside River for Go."""

from __future__ import annotations

import asyncio
import itertools
import os
import time

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.peers import Peer
from tests.interop.scenarios.database import connections, leader
from tests.interop.scenarios.support import EACH, LEADERSHIP, SIDE_BY_SIDE, insert, job, scenario, until

pytestmark = pytest.mark.long

_MOST_TRANSACTIONS = 250
_MOST_CONNECTIONS = 20
_SECONDS = 120.0


async def _count(connection: Connection, river: Schema, state: str) -> int:
    sql = f"SELECT count(*) FROM {river.table('river_job')} WHERE state = $1::text::{river.table('river_job_state')}"
    return int(await connection.fetchval(sql, state))


async def _all_in(connection: Connection, river: Schema, state: str, count: int) -> None:
    async def look() -> bool:
        return await _count(connection, river, state) == count

    await until(look, _SECONDS)


async def _once_each(connection: Connection, river: Schema) -> None:
    sql = f"SELECT count(*) FROM {river.table('river_job')} WHERE attempt <> 1 OR cardinality(attempted_by) <> 1"
    assert await connection.fetchval(sql) == 0


@scenario("TestPerformance/CompletionBatching", EACH)
async def test_completion_batching(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    count = 1_000
    await insert(peer, *(job("barrier_wait", "gate") for _ in range(count)))
    await peer.call("start", max_workers=count)
    await _all_in(connection, river, "running", count)
    await peer.call("release", name="gate")
    await _all_in(connection, river, "completed", count)
    transactions = await connection.fetchval(f"SELECT count(DISTINCT xmin::text) FROM {river.table('river_job')}")
    assert transactions < _MOST_TRANSACTIONS


@scenario("TestPerformance/PoolPressure", SIDE_BY_SIDE)
async def test_pool_pressure(peers: list[Peer], connection: Connection, river: Schema) -> None:
    count = 600
    await insert(peers[0], *(job("sleep", f"job {n}", 10) for n in range(count)))
    await asyncio.gather(*(peer.call("start", client_id=peer.name, max_workers=100) for peer in peers))
    most = 0

    async def done() -> bool:
        nonlocal most
        most = max(most, *[await connections(connection, peer.application) for peer in peers])
        return await _count(connection, river, "completed") == count

    await until(done, _SECONDS)
    await _once_each(connection, river)
    assert most <= _MOST_CONNECTIONS


@scenario("TestSoak", SIDE_BY_SIDE)
async def test_soak(peers: list[Peer], connection: Connection, river: Schema, spawn: Spawn) -> None:
    """For RIVERMILL_SOAK seconds, 90 if it is not set."""
    deadline = time.monotonic() + float(os.environ.get("RIVERMILL_SOAK", "90"))
    names = {peer.name: peer for peer in peers}
    for name, peer in names.items():
        await peer.call("start", client_id=name, max_workers=10)
    inserted = 0
    for batch in itertools.count(1):
        for peer in peers:
            for number in range(10):
                await insert(peer, job("sleep", f"{peer.name} {batch} {number}", 5))
                inserted += 1
            assert await connections(connection, peer.application) <= _MOST_CONNECTIONS
        await _all_in(connection, river, "completed", inserted)
        if batch % 10 == 0:
            found = await until(lambda: leader(connection, river), LEADERSHIP)
            await names[found[0]].call("stop")
            await names[found[0]].call("start", client_id=found[0], max_workers=10)
        if time.monotonic() > deadline:
            break
    await _once_each(connection, river)
