"""TestProtocol: the adapter itself, before anything is concluded from what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.interop.peers import Peer, PeerError
from tests.interop.scenarios.support import EACH, get, insert, job, reaches, scenario


@scenario("TestProtocol/Barrier", EACH)
async def test_barrier(peers: list[Peer]) -> None:
    (peer,) = peers
    await peer.call("start", client_id="one")
    (held,) = await insert(peer, job("barrier_wait", "gate"))
    await reaches(peer, held["id"], "running")
    await asyncio.sleep(0.3)
    row = await get(peer, held["id"])
    assert (row["state"], row["attempt"]) == ("running", 1)
    await peer.call("release", name="gate")
    assert (await reaches(peer, held["id"], "completed"))["attempt"] == 1
    (late,) = await insert(peer, job("barrier_wait", "gate"))
    await reaches(peer, late["id"], "completed")


@scenario("TestProtocol/Handshake", EACH)
async def test_handshake(peers: list[Peer]) -> None:
    (peer,) = peers
    answer = await peer.call("handshake")
    assert (answer["implementation"], answer["driver"]) == (peer.name, "postgres")
    assert answer["version"]


_REFUSED: list[tuple[int, str, dict[str, Any]]] = [
    (-32601, "not_a_method", {}),
    (-32602, "handshake", {"unexpected": True}),
    (-32602, "insert", {"jobs": [job(not_an_option=1)]}),
    (-32602, "insert", {"jobs": [job(unique={"by_args": True, "by_moon": True})]}),
    (-32602, "insert", {"jobs": "none"}),
    (-32602, "list", {"after": "nonsense"}),
    (-32602, "list", {"direction": "sideways"}),
    (-32602, "migrate", {"direction": "sideways"}),
    (-32602, "queue", {"action": "destroy", "name": "default"}),
    (-32602, "start", {"not_an_option": 1}),
    (-32602, "start", {"tuning": {"not_an_interval_ms": 1}}),
    (-32602, "start", {"worker_kinds": ["unheard_of"]}),
    (-32602, "start", {"periodic_unique": True}),
    (-32602, "tx_begin", {"tx": ""}),
    (-32001, "cancel", {"id": 999}),
    (-32001, "retry", {"id": 999}),
    (-32001, "queue", {"action": "pause", "name": "missing"}),
    (-32001, "queue", {"action": "update", "name": "missing", "metadata": {}}),
    (-32001, "tx_end", {"tx": "unopened"}),
    (-32001, "list", {"tx": "unopened"}),
    (-32002, "insert", {"jobs": []}),
    (-32002, "insert", {"jobs": [job(priority=99)]}),
    (-32002, "insert", {"jobs": [job(unique={"exclude_kind": True})]}),
    (-32002, "insert", {"jobs": [job(unique={"by_args": True}), job(unique={"by_args": True})]}),
    (-32002, "insert", {"jobs": [job()], "schema": "s" * 47}),
    (-32002, "insert", {"jobs": [job()], "schema": "no_such_schema"}),
    (-32002, "stats", {}),
    (-32002, "stop", {}),
]


@scenario("TestProtocol/StrictRequests", EACH)
async def test_strict_requests(peers: list[Peer]) -> None:
    (peer,) = peers
    for code, method, params in _REFUSED:
        with pytest.raises(PeerError) as refused:
            await peer.call(method, **params)
        assert refused.value.code == code, (method, params)
    assert (await peer.send('{"jsonrpc":"1.0","id":1000,"method":"handshake","params":{}}', 1000))["error"]["code"] == -32600
    assert (await peer.send("this is not JSON", 0))["error"]["code"] == -32700
    await peer.call("start")
    with pytest.raises(PeerError) as refused:
        await peer.call("start")
    assert refused.value.code == -32002
    await peer.call("tx_begin", tx="a")
    with pytest.raises(PeerError) as refused:
        await peer.call("tx_begin", tx="a")
    assert refused.value.code == -32002
    assert (await peer.call("list"))["jobs"] == []
