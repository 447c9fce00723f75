"""Scenarios of the suite's first revision that the second leaves out: jobs and queues, managed by one and read by the other."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer, PeerError
from tests.interop.scenarios.database import raw_rows, timeless
from tests.interop.scenarios.support import BOTH_WAYS, SIDE_BY_SIDE, get, insert, job, reaches, scenario, until

_NOT_FOUND, _REFUSED = -32001, -32002
_LATER = "2031-02-03T04:05:06Z"


async def _refused(peer: Peer, code: int, method: str, **params: Any) -> None:
    with pytest.raises(PeerError) as refused:
        await peer.call(method, **params)
    assert refused.value.code == code, (peer.name, method, params, str(refused.value))


@scenario("differential_job_crud", BOTH_WAYS)
async def test_job_crud(peers: list[Peer]) -> None:
    one, other = peers
    rows = await insert(one, job("", "plain"), job("output", "a<é>&", tags=["tag_1"], metadata={"kept": 1.50}, queue="other"))
    for row in rows:
        assert await other.call("get", id=row["id"]) == await one.call("get", id=row["id"]) == row
    updated = await other.call("update", id=rows[1]["id"], output={"text": "<é>", "list": [1, None, 2.5]})
    assert updated["metadata"] == {"kept": 1.5, "output": {"text": "<é>", "list": [1, None, 2.5]}}
    assert updated == rows[1] | {"metadata": updated["metadata"]} == await one.call("get", id=rows[1]["id"])
    assert await one.call("delete", id=rows[1]["id"]) == updated
    for method, more in (("get", {}), ("delete", {}), ("cancel", {}), ("retry", {}), ("update", {"output": 1})):
        for peer in peers:
            await _refused(peer, _NOT_FOUND, method, id=rows[1]["id"], **more)
    await one.call("start", leader_election_disabled=True)
    (running,) = await insert(other, job("barrier_wait", "gate"))
    await reaches(other, running["id"], "running")
    for peer in peers:
        await _refused(peer, _REFUSED, "delete", id=running["id"])
    await one.call("release", name="gate")
    ended = await reaches(other, running["id"], "completed")
    assert await other.call("delete", id=running["id"]) == ended


@scenario("transactional_crud_commit_rollback", BOTH_WAYS)
async def test_job_crud_in_transactions(peers: list[Peer]) -> None:
    one, other = peers
    for commit in (False, True):
        cancelled, deleted = await insert(other, job("", "cancelled", scheduled_at=_LATER), job("", "deleted"))
        await one.call("tx_begin", tx="a")
        (inserted,) = await insert(one, job("", f"inserted {commit}"), tx="a")
        inside = await one.call("cancel", id=cancelled["id"], tx="a")
        retried = await one.call("retry", id=cancelled["id"], tx="a")
        assert (inside["state"], retried["state"]) == ("cancelled", "available")
        assert await one.call("delete", id=deleted["id"], tx="a") == deleted
        assert await one.call("get", id=inserted["id"], tx="a") == inserted
        await _refused(one, _NOT_FOUND, "get", id=deleted["id"], tx="a")
        await _refused(other, _NOT_FOUND, "get", id=inserted["id"])
        assert [await get(other, row["id"]) for row in (cancelled, deleted)] == [cancelled, deleted]
        await one.call("tx_end", tx="a", commit=commit)
        if commit:
            assert await get(other, inserted["id"]) == inserted
            assert await get(other, cancelled["id"]) == retried
            await _refused(other, _NOT_FOUND, "get", id=deleted["id"])
        else:
            await _refused(other, _NOT_FOUND, "get", id=inserted["id"])
            assert [await get(other, row["id"]) for row in (cancelled, deleted)] == [cancelled, deleted]


@scenario("bulk_delete_safety", BOTH_WAYS)
async def test_bulk_delete(peers: list[Peer], connection: Connection, river: Schema) -> None:
    one, other = peers
    await one.call("start", leader_election_disabled=True, queues=["worked"])
    (running,) = await insert(other, job("barrier_wait", "gate", queue="worked"))
    await reaches(other, running["id"], "running")
    rows = await insert(other, *(job("", f"job {n}", queue=f"queue_{n % 2}") for n in range(6)))
    for peer in peers:
        await _refused(peer, _REFUSED, "delete_many")
        assert (await peer.call("delete_many", ids=[running["id"]]))["jobs"] == []
        assert (await peer.call("delete_many", kinds=["another"]))["jobs"] == []
    async with connection.transaction():
        await connection.execute(f"SELECT 1 FROM {river.table('river_job')} WHERE id = $1 FOR UPDATE", rows[0]["id"])
        deleted = (await one.call("delete_many", queues=["queue_0"], states=["available"], limit=1))["jobs"]
        assert deleted == [rows[2]], "the first that nobody has locked"
    assert (await other.call("delete_many", queues=["queue_0", "worked"]))["jobs"] == [rows[0], rows[4]]
    assert (await one.call("delete_many", kinds=["conformance_echo"]))["jobs"] == rows[1::2]
    assert [row["id"] for row in (await other.call("list"))["jobs"]] == [running["id"]]
    await one.call("release", name="gate")


@scenario("typed_batch_insertion", SIDE_BY_SIDE)
async def test_copied_rows(peers: list[Peer], connection: Connection, river: Schema) -> None:
    described = [
        job("output", "plain é<&>\u2028", 5),
        job("", "options", priority=3, tags=["tag_1", "tag-two"], metadata={"n": 1, "a": "<é>"}, max_attempts=7, queue="other"),
        job("", "later", scheduled_at="2031-02-03T04:05:06.789Z"),
        job("", "pending", pending=True),
        job("", "unique", unique={"by_args": True, "by_queue": True}),
    ]
    histories = []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')} RESTART IDENTITY")
        assert await peer.call("insert_fast", jobs=described) == {"count": len(described)}
        await _refused(peer, _REFUSED, "insert_fast", jobs=[job("", "lost with it"), described[-1]])
        histories.append([timeless(row) for row in await raw_rows(connection, river)])
    assert histories[0] == histories[1]
    assert len(histories[0]) == len(described)


@scenario("differential_queue_crud", BOTH_WAYS)
async def test_queue_crud(peers: list[Peer]) -> None:
    one, other = peers
    names = ["alpha", "beta", "gamma"]
    await one.call("start", queues=names, leader_election_disabled=True)
    await one.call("stop")
    listed = (await other.call("queue_list"))["queues"]
    assert [queue["name"] for queue in listed] == names
    assert (await one.call("queue_list"))["queues"] == listed
    assert (
        (await one.call("queue_list", limit=2))["queues"] == (await other.call("queue_list", limit=2))["queues"] == listed[:2]
    )
    for queue in listed:
        assert queue | {"metadata": {}, "paused_at": None} == queue
        assert await other.call("queue_get", name=queue["name"]) == queue
    await other.call("queue", action="pause", name="beta")
    paused = await one.call("queue_get", name="beta")
    assert paused["paused_at"] is not None
    await one.call("queue", action="pause", name="beta")
    assert await other.call("queue_get", name="beta") == paused, "it stays paused since then"
    await other.call("queue", action="update", name="beta", metadata={"owner": {"b": 1, "a": "<é>"}})
    updated = await one.call("queue_get", name="beta")
    assert updated == await other.call("queue_get", name="beta")
    assert updated | {"updated_at": 0} == paused | {"metadata": {"owner": {"b": 1, "a": "<é>"}}, "updated_at": 0}
    await other.call("queue", action="pause", name="*")
    assert all(queue["paused_at"] for queue in (await one.call("queue_list"))["queues"])
    assert (await one.call("queue_get", name="beta"))["paused_at"] == paused["paused_at"]
    await one.call("queue", action="resume", name="*")
    assert not any(queue["paused_at"] for queue in (await other.call("queue_list"))["queues"])


@scenario("queue_names_and_unknown_queue_control", SIDE_BY_SIDE)
async def test_queue_names(peers: list[Peer]) -> None:
    for name in ("a", "0", "a_b", "a-b_c9", "q" * 64):
        answers = [(await insert(peer, job("", "named", queue=name)))[0]["queue"] for peer in peers]
        assert answers == [name, name]
    for name in ("A", "a__b", "_a", "a_", "a b", "é", "*", "q" * 65):
        for peer in peers:
            await _refused(peer, _REFUSED, "insert", jobs=[job("", "misnamed", queue=name)])
    for peer in peers:
        await _refused(peer, _NOT_FOUND, "queue_get", name="missing")
        for action in ("pause", "resume", "update"):
            await _refused(peer, _NOT_FOUND, "queue", action=action, name="missing", metadata={"a": 1})


@scenario("dynamic_queue_add_reconfigure_remove", BOTH_WAYS)
async def test_queues_at_run_time(peers: list[Peer]) -> None:
    inserting, working = peers
    await working.call("start", queues=["first"], leader_election_disabled=True)
    rows = await insert(inserting, *(job("sleep", f"job {n}", 2_000, queue="second") for n in range(2)))

    async def running() -> list[int]:
        jobs = (await inserting.call("list", states=["running"]))["jobs"]
        return [found["id"] for found in jobs]

    await working.call("queue_add", name="second", max_workers=1)
    await _refused(working, _REFUSED, "queue_add", name="second", max_workers=2)
    await until(running)
    assert await running() == [rows[0]["id"]], "one slot"
    await working.call("queue_remove", name="second")
    # Its job has ended by then, although that may still have to be written.
    assert (await reaches(inserting, rows[0]["id"], "completed"))["attempt"] == 1
    assert (await get(inserting, rows[1]["id"]))["state"] == "available"
    rows += await insert(inserting, job("sleep", "another", 2_000, queue="second"))
    await working.call("queue_add", name="second", max_workers=2)

    async def both() -> bool:
        return await running() == [rows[1]["id"], rows[2]["id"]]

    await until(both)
    for row in rows:
        await reaches(inserting, row["id"], "completed")
    await working.call("queue_remove", name="second")
