"""TestNotifications: each implementation says the same at the same moments, and hears the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import Ear
from tests.interop.scenarios.support import (
    BOTH_WAYS,
    LEADERSHIP,
    SIDE_BY_SIDE,
    WORK,
    get,
    insert,
    job,
    reaches,
    scenario,
    sees,
    until,
)

_TOPICS = ("river_insert", "river_control", "river_leadership")
_NEVER = 60_000
"""A poll interval in ms that no test waits for."""
_TIME_TO_ACT = 1.0


@pytest.mark.parametrize("within", [WORK, pytest.param(5.0, marks=pytest.mark.long)], ids=["15 s", "5 s"])
@scenario("TestNotifications/InsertWakeup", BOTH_WAYS)
async def test_insert_wakeup(peers: list[Peer], within: float) -> None:
    """The suite's own form: a client that may lead, with one slot, and that listens once it has started, wakes within 5 s."""
    inserting, working = peers
    await working.call("start", client_id="wakes", fetch_poll_interval_ms=_NEVER, max_workers=1)
    for _ in range(3):
        (row,) = await insert(inserting, job("", "wakes it"))
        await reaches(inserting, row["id"], "completed", within)
        await asyncio.sleep(_TIME_TO_ACT)


@scenario("TestNotifications/PauseResume", BOTH_WAYS)
async def test_pause_resume(peers: list[Peer]) -> None:
    controlling, working = peers
    await working.call("start", fetch_poll_interval_ms=_NEVER, leader_election_disabled=True)
    (before,) = await insert(controlling, job("barrier_wait", "gate"))
    await reaches(controlling, before["id"], "running")
    for name in ("default", "*"):
        await controlling.call("queue", action="pause", name=name)
        await asyncio.sleep(_TIME_TO_ACT)
        (row,) = await insert(controlling, job())
        await asyncio.sleep(_TIME_TO_ACT)
        assert (await get(controlling, row["id"]))["state"] == "available"
        await working.call("release", name="gate")
        await reaches(controlling, before["id"], "completed")
        await controlling.call("queue", action="resume", name=name)
        await reaches(controlling, row["id"], "completed")


async def _history(peer: Peer, connection: Connection, river: Schema) -> list[tuple[str, list[Any]]]:
    """What one implementation notifies, by what it does."""
    heard: list[tuple[str, list[Any]]] = []
    async with Ear(connection, river, _TOPICS) as ear:

        async def after(what: str) -> None:
            said = [[topic, payload] for topic, payload in await ear.heard()]
            heard.append((what, sorted(said, key=lambda one: json.dumps(one, sort_keys=True))))

        later, _ = await insert(peer, job(scheduled_at="2031-02-03T04:05:06Z", queue="quiet"), job(pending=True, queue="quiet"))
        await after("insert of what is not due")
        ids = [row["id"] for row in await insert(peer, job(queue="one"), job(queue="two"), job(queue="one"))]
        await after("insert")
        (held,) = await insert(peer, job(queue="three", unique={"by_queue": True}))
        await insert(peer, job(queue="three", unique={"by_queue": True}))
        await after("insert of a duplicate soon after")
        await peer.call("cancel", id=later["id"])
        await after("cancel of what is not running")
        await peer.call("cancel", id=later["id"])
        await after("cancel of what is finished")
        await peer.call("retry", id=later["id"])
        await after("retry")
        await peer.call("start", client_id="leads", queues=["four"])
        await until(lambda: _leads(connection, river), LEADERSHIP)
        await after("start")
        await peer.call("queue", action="update", name="four", metadata={"owner": {"b": 1, "a": "<é>"}})
        await after("update")
        for action in ("pause", "pause", "resume", "resume"):
            await peer.call("queue", action=action, name="four")
            await after(action)
        for action in ("pause", "resume"):
            await peer.call("queue", action=action, name="*")
            await after(f"{action} all")
        (running,) = await insert(peer, job("cooperative_cancel", queue="four"))
        await reaches(peer, running["id"], "running")
        await peer.call("cancel", id=running["id"])
        await reaches(peer, running["id"], "cancelled")
        await after("cancel of what is running")
        term = await _leads(connection, river)
        await peer.call("request_resign")
        await until(lambda: _leads(connection, river, but=term), LEADERSHIP)
        await after("request_resign")
        await peer.call("stop")
        await after("stop")
    return [(what, _anonymous(said, [later["id"], held["id"], running["id"], *ids])) for what, said in heard]


async def _leads(connection: Connection, river: Schema, but: Any = None) -> Any:
    """The term of whoever leads, if it is another than that."""
    term = await connection.fetchval(f"SELECT elected_at FROM {river.table('river_leader')}")
    return term if term != but else None


def _anonymous(said: list[Any], ids: list[int]) -> list[Any]:
    return [
        [topic, payload | {"job_id": ids.index(payload["job_id"])} if "job_id" in payload else payload]
        for topic, payload in said
    ]


@scenario("TestNotifications/Payloads", SIDE_BY_SIDE)
async def test_payloads(peers: list[Peer], connection: Connection, river: Schema) -> None:
    histories = []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')}, {river.table('river_queue')}")
        histories.append(await _history(peer, connection, river))
    assert histories[0] == histories[1]
    assert dict(histories[0])["stop"] == [["river_leadership", {"action": "resigned", "leader_id": "leads"}]]


@scenario("TestNotifications/QueueSubscriptionEvents", BOTH_WAYS)
async def test_queue_subscription_events(peers: list[Peer]) -> None:
    controlling, working = peers
    await working.call("start", queues=["one", "two"], leader_election_disabled=True)
    events: list[str] = []
    changes = (
        ("pause", "one", ["queue_paused"]),
        ("pause", "one", []),
        ("pause", "*", ["queue_paused"]),
        ("resume", "two", ["queue_resumed"]),
        ("resume", "*", ["queue_resumed"]),
        ("resume", "one", []),
    )
    for action, name, expected in changes:
        await controlling.call("queue", action=action, name=name)
        events += expected
        await sees(working, *events)
        await asyncio.sleep(_TIME_TO_ACT)
        await sees(working, *events)


@scenario("TestNotifications/QueueUpdates", BOTH_WAYS)
async def test_queue_updates(peers: list[Peer], connection: Connection, river: Schema) -> None:
    updating, working = peers
    await working.call("start", leader_election_disabled=True)
    async with Ear(connection, river, ["river_control"]) as ear:
        for number, commit in enumerate((None, False, True)):
            place = {} if commit is None else {"tx": "a"}
            if place:
                await updating.call("tx_begin", **place)
            metadata = {"number": number, "name": "<é>"}
            await updating.call("queue", action="update", name="default", metadata=metadata, **place)
            if place:
                assert await ear.heard() == []
                await updating.call("tx_end", commit=commit, **place)
            told = {"action": "metadata_changed", "metadata": metadata, "queue": "default"}
            assert await ear.heard() == ([] if commit is False else [("river_control", told)])
    stored = await connection.fetchval(f"SELECT metadata::text FROM {river.table('river_queue')}")
    assert json.loads(stored) == {"number": 2, "name": "<é>"}


@scenario("TestNotifications/Transactional", BOTH_WAYS)
async def test_transactional(peers: list[Peer], connection: Connection, river: Schema) -> None:
    one, other = peers
    await other.call("start", leader_election_disabled=True, queues=["worked"])
    (finished, waiting) = await insert(other, job(queue="two"), job(queue="three"))
    await other.call("cancel", id=finished["id"])
    async with Ear(connection, river, _TOPICS) as ear:
        for commit in (False, True):
            await one.call("tx_begin", tx="a")
            await insert(one, job(queue=f"queue_{str(commit).lower()}"), tx="a")
            await one.call("cancel", id=finished["id"], tx="a")
            await one.call("cancel", id=waiting["id"], tx="a")
            await one.call("queue", action="pause", name="worked", tx="a")
            await one.call("queue", action="resume", name="worked", tx="a")
            await one.call("request_resign", tx="a")
            assert await ear.heard() == []
            await one.call("tx_end", tx="a", commit=commit)
            expected = [
                ("river_insert", {"queue": "queue_true"}),
                ("river_control", {"action": "cancel", "job_id": waiting["id"], "queue": "three"}),
                ("river_control", {"action": "pause", "queue": "worked"}),
                ("river_control", {"action": "resume", "queue": "worked"}),
                ("river_leadership", {"action": "request_resign", "leader_id": ""}),
            ]
            assert await ear.heard() == (expected if commit else [])
        await one.call("cancel", id=finished["id"])
        assert await ear.heard() == []
