"""TestLeadership: one leader at a time, whatever it is written in."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer, PeerError
from tests.interop.scenarios.database import Ear, leader, raw_rows
from tests.interop.scenarios.support import BOTH_WAYS, LEADERSHIP, insert, job, reaches, scenario, until

_ELECTION = 7.0
"""Seconds in which every client that may bids once."""


async def _leads(connection: Connection, river: Schema, client_id: str) -> datetime:
    async def look() -> datetime | None:
        found = await leader(connection, river)
        return found[1] if found and found[0] == client_id else None

    since: datetime = await until(look, LEADERSHIP)
    return since


async def _new_term(connection: Connection, river: Schema, since: datetime) -> datetime:
    async def look() -> datetime | None:
        found = await leader(connection, river)
        return found[1] if found and found[1] != since else None

    term: datetime = await until(look, LEADERSHIP)
    return term


@scenario("TestLeadership/ElectionDisabled", BOTH_WAYS)
async def test_election_disabled(peers: list[Peer], connection: Connection, river: Schema) -> None:
    other, disabled = peers
    with pytest.raises(PeerError) as refused:
        await disabled.call("start", leader_election_disabled=True, periodic_run_on_start=True)
    assert refused.value.code == -32002
    await disabled.call("start", client_id="disabled", leader_election_disabled=True)
    (row,) = await insert(other, job("output"))
    await reaches(other, row["id"], "completed")
    await asyncio.sleep(_ELECTION)
    assert await leader(connection, river) is None
    # It works another queue, so that the client without elections gets its periodic job.
    await other.call("start", client_id="other", queues=["others"], periodic_run_on_start=True)
    await _leads(connection, river, "other")

    async def worked() -> bool:
        rows = [row for row in await raw_rows(connection, river) if "river:periodic_job_id" in row["metadata"]]
        return [(row["state"], row["attempted_by"]) for row in rows] == [("completed", ["disabled"])]

    await until(worked, LEADERSHIP)
    await other.call("stop")
    await asyncio.sleep(_ELECTION)
    assert await leader(connection, river) is None
    assert (await disabled.call("stats"))["periodic_starts"] == 0


@scenario("TestLeadership/Failover", BOTH_WAYS)
async def test_failover(peers: list[Peer], connection: Connection, river: Schema) -> None:
    first, second = peers
    await first.call("start", client_id="first")
    since = await _leads(connection, river, "first")
    await second.call("start", client_id="second")
    for asking in (second, first):
        await asking.call("request_resign")
        since = await _new_term(connection, river, since)
    names = {"first": first, "second": second}
    for _ in range(2):
        found = await leader(connection, river)
        assert found is not None
        (other,) = names.keys() - {found[0]}
        await names[found[0]].call("stop")
        await _leads(connection, river, other)
        await names[found[0]].call("start", client_id=found[0])


@scenario("TestLeadership/RequestResign", BOTH_WAYS)
async def test_request_resign(peers: list[Peer], connection: Connection, river: Schema) -> None:
    asking, leading = peers
    await leading.call("start", client_id="leads")
    since = await _leads(connection, river, "leads")
    resigned = ("river_leadership", {"action": "resigned", "leader_id": "leads"})
    asked = ("river_leadership", {"action": "request_resign", "leader_id": ""})
    async with Ear(connection, river, ["river_leadership"]) as ear:
        await asking.call("request_resign")
        since = await _new_term(connection, river, since)
        assert await ear.heard() == [asked, resigned]
        for commit in (False, True):
            await asking.call("tx_begin", tx="a")
            await asking.call("request_resign", tx="a")
            await asyncio.sleep(0.5)
            assert await leader(connection, river) == ("leads", since)
            await asking.call("tx_end", tx="a", commit=commit)
            if commit:
                since = await _new_term(connection, river, since)
            assert await ear.heard() == ([asked, resigned] if commit else [])
