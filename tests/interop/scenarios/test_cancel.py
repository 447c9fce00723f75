"""TestCancel: one implementation cancels what the other is about to run, runs or has locked."""

from __future__ import annotations

import asyncio

import pytest

from rivermill.db import Connection
from tests.interop.peers import Peer
from tests.interop.scenarios.database import listener, lock_waits
from tests.interop.scenarios.support import BOTH_WAYS, WORK, get, insert, job, reaches, scenario, sees, until

_TIME_TO_HEAR = 0.5
_TIME_TO_POLL = 3.0


@scenario("TestCancel/ClaimTime", BOTH_WAYS)
async def test_claim_time(peers: list[Peer]) -> None:
    cancelling, working = peers
    await working.call("start", claim_barrier="claimed", leader_election_disabled=True)
    (row,) = await insert(cancelling, job("cooperative_cancel"))
    await reaches(cancelling, row["id"], "running")
    asked = await cancelling.call("cancel", id=row["id"])
    assert (asked["state"], asked["attempt"]) == ("running", 1)
    await asyncio.sleep(_TIME_TO_HEAR)
    assert (await get(cancelling, row["id"]))["state"] == "running"
    await working.call("release", name="claimed")
    ended = await reaches(cancelling, row["id"], "cancelled")
    assert [e["error"] for e in ended["errors"]] == ["JobCancelError: job cancelled remotely"]
    assert (await working.call("stats"))["cancelled_at_start"] == 1


@pytest.mark.parametrize("within", [WORK, pytest.param(6.0, marks=pytest.mark.long)], ids=["15 s", "6 s"])
@scenario("TestCancel/PollOnly", BOTH_WAYS)
async def test_poll_only(peers: list[Peer], connection: Connection, within: float) -> None:
    cancelling, working = peers
    await working.call("start", poll_only=True, fetch_poll_interval_ms=100)
    for _ in range(2):
        (row,) = await insert(cancelling, job("cooperative_cancel"))
        await reaches(cancelling, row["id"], "running")
        await cancelling.call("cancel", id=row["id"])
        await reaches(cancelling, row["id"], "cancelled", within)
        assert await listener(connection, working.application) is None
    await cancelling.call("queue", action="pause", name="default")
    await asyncio.sleep(_TIME_TO_POLL)
    (row,) = await insert(cancelling, job())
    await asyncio.sleep(_TIME_TO_HEAR)
    assert (await get(cancelling, row["id"]))["state"] == "available"
    await cancelling.call("queue", action="resume", name="default")
    await reaches(cancelling, row["id"], "completed")


@scenario("TestCancel/Race", BOTH_WAYS)
async def test_race(peers: list[Peer], connection: Connection) -> None:
    first, second = peers
    (row,) = await insert(first, job("", "contested", scheduled_at="2031-02-03T04:05:06Z"))
    for method, state in (("cancel", "cancelled"), ("retry", "available")):
        await first.call("tx_begin", tx="a")
        winner = await first.call(method, id=row["id"], tx="a")
        assert winner["state"] == state
        loser = asyncio.create_task(second.call(method, id=row["id"]))
        await until(lambda: lock_waits(connection, second.application))
        assert not loser.done()
        await first.call("tx_end", tx="a", commit=True)
        assert await loser == winner == await get(first, row["id"])


@pytest.mark.parametrize("within", [WORK, pytest.param(5.0, marks=pytest.mark.long)], ids=["15 s", "5 s"])
@scenario("TestCancel/Remote", BOTH_WAYS)
async def test_remote(peers: list[Peer], within: float) -> None:
    cancelling, working = peers
    await working.call("start", fetch_poll_interval_ms=60_000, leader_election_disabled=True)
    (row,) = await insert(cancelling, job("cooperative_cancel"))
    running = await reaches(cancelling, row["id"], "running")
    asked = await cancelling.call("cancel", id=row["id"])
    assert asked == running | {"metadata": asked["metadata"]}
    ended = await reaches(cancelling, row["id"], "cancelled", within)
    assert [(e["attempt"], e["error"], e["trace"]) for e in ended["errors"]] == [
        (1, "JobCancelError: job cancelled remotely", "")
    ]
    assert ended["metadata"] == asked["metadata"]
    await sees(working, "job_cancelled")
    assert (await working.call("stats"))["cancelled_at_start"] == 0
