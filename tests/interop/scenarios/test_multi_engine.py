"""TestMultiEngine: three clients on one schema; there are two implementations, so one of them is there twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import connections, leader, raw_rows
from tests.interop.scenarios.support import LEADERSHIP, MAINTENANCE, RESCUE, insert, job, reaches, scenario, until

_THREE = [("python", "go", "go"), ("go", "python", "python")]
_MOST_CONNECTIONS = 20


async def _completed(connection: Connection, river: Schema) -> list[dict[str, Any]]:
    rows = await raw_rows(connection, river)
    return rows if all(row["state"] == "completed" for row in rows) else []


async def _start(peers: list[Peer], **options: Any) -> None:
    await asyncio.gather(*(peer.call("start", client_id=f"client {n}", **options) for n, peer in enumerate(peers)))


@scenario("TestMultiEngine/Competition", _THREE)
async def test_competition(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await _start(peers)
    await insert(peers[0], *(job("sleep", f"job {n}", 50) for n in range(300)))
    rows = await until(lambda: _completed(connection, river), MAINTENANCE)
    assert {row["attempt"] for row in rows} == {1}
    assert {tuple(row["attempted_by"]) for row in rows} == {(f"client {n}",) for n in range(3)}


@scenario("TestMultiEngine/DirectedWork", _THREE)
async def test_directed_work(peers: list[Peer], connection: Connection, river: Schema) -> None:
    for number, peer in enumerate(peers):
        await peer.call("start", client_id=f"client {number}", queues=[f"queue_{number}"])
    for peer in peers:
        await insert(peer, *(job("output", f"{n}", queue=f"queue_{n % 3}") for n in range(30)))
    rows = await until(lambda: _completed(connection, river))
    assert len(rows) == 90
    for row in rows:
        number = row["queue"].removeprefix("queue_")
        assert (row["attempt"], row["attempted_by"]) == (1, [f"client {number}"])


@pytest.mark.long
@scenario("TestMultiEngine/FaultRecovery", _THREE)
async def test_fault_recovery(peers: list[Peer]) -> None:
    dying, *living = peers
    await dying.call("start", client_id="dying")
    rows = await insert(living[0], *(job("barrier_wait", "gate") for _ in range(3)))
    for row in rows:
        await reaches(living[0], row["id"], "running")
    await dying.kill()
    for number, peer in enumerate(living):
        await peer.call("release", name="gate")
        await peer.call("start", client_id=f"living {number}", **RESCUE)
    for row in rows:
        ended = await reaches(living[0], row["id"], "completed", 2 * MAINTENANCE)
        assert (ended["attempt"], ended["attempted_by"][0], len(ended["errors"])) == (2, "dying", 1)


@scenario("TestMultiEngine/LeaderFailover", _THREE)
async def test_leader_failover(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await _start(peers)
    left = {f"client {number}": peer for number, peer in enumerate(peers)}

    async def one_of_them() -> str | None:
        found = await leader(connection, river)
        return found[0] if found and found[0] in left else None

    while left:
        name = await until(one_of_them, LEADERSHIP)
        await left.pop(name).call("stop")


@scenario("TestMultiEngine/ResourceBound", _THREE)
async def test_resource_bound(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await insert(peers[0], *(job("sleep", f"job {n}", 10) for n in range(600)))
    await _start(peers, max_workers=100)
    most = 0

    async def done() -> list[dict[str, Any]]:
        nonlocal most
        most = max(most, *[await connections(connection, peer.application) for peer in peers])
        return await _completed(connection, river)

    rows = await until(done, MAINTENANCE)
    assert {(row["attempt"], len(row["attempted_by"])) for row in rows} == {(1, 1)}
    assert most <= _MOST_CONNECTIONS
