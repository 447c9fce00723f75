"""TestTransactions: what is done inside a transaction exists when that commits, and not before."""

from __future__ import annotations

from tests.interop.peers import Peer
from tests.interop.scenarios.support import BOTH_WAYS, get, insert, job, reaches, scenario


@scenario("TestTransactions/Cancel", BOTH_WAYS)
async def test_cancel(peers: list[Peer]) -> None:
    inserting, cancelling = peers
    waiting, running = await insert(inserting, job("", "later", scheduled_at="2031-02-03T04:05:06Z"), job("cooperative_cancel"))
    await inserting.call("start")
    await reaches(cancelling, running["id"], "running")
    for commit in (False, True):
        await cancelling.call("tx_begin", tx="a")
        inside = await cancelling.call("cancel", id=waiting["id"], tx="a")
        assert inside["state"] == "cancelled"
        assert await get(cancelling, waiting["id"], tx="a") == inside
        inside = await cancelling.call("cancel", id=running["id"], tx="a")
        assert inside["state"] == "running"
        assert "cancel_attempted_at" in inside["metadata"]
        for peer in peers:
            assert (await get(peer, waiting["id"]))["state"] == "scheduled"
            assert (await get(peer, running["id"]))["metadata"] == {}
        await cancelling.call("tx_end", tx="a", commit=commit)
        if not commit:
            assert (await get(inserting, waiting["id"]))["state"] == "scheduled"
            assert (await get(inserting, running["id"]))["state"] == "running"
    await reaches(inserting, waiting["id"], "cancelled")
    await reaches(inserting, running["id"], "cancelled")


@scenario("TestTransactions/Visibility", BOTH_WAYS)
async def test_visibility(peers: list[Peer]) -> None:
    one, other = peers
    for commit in (False, True):
        await one.call("tx_begin", tx="a")
        rows = await insert(one, job("", "first"), job("", "second"), tx="a")
        assert (await one.call("list", tx="a"))["jobs"] == rows
        assert (await one.call("list"))["jobs"] == []
        assert (await other.call("list"))["jobs"] == []
        await one.call("tx_end", tx="a", commit=commit)
        for peer in peers:
            assert (await peer.call("list"))["jobs"] == (rows if commit else [])
    await other.call("start")
    for row in rows:
        await reaches(one, row["id"], "completed")
