"""Beside River for Go that takes the server for a YugabyteDB without notifications: it tells nobody of anything, hears nothing,
and marks what it inserts as unique.

Upstream's scenario ``TestChaos/SimulatedYugabyte`` wants that of both; ours does not find it out by itself (ADR 0086). What is
here holds for a client of ours that is told to poll.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.peers import Peer, command_of
from tests.interop.scenarios.database import listener, raw_row
from tests.interop.scenarios.support import get, insert, job, reaches

_POLLING = {"poll_only": True, "fetch_poll_interval_ms": 100, "leader_election_disabled": True}


@pytest.fixture
async def yugabyte(built: None, dsn: str, connection: Connection, river: Schema) -> AsyncIterator[Peer]:
    """River for Go on a search path where the server's own functions come after these."""
    await connection.execute(f"""
        CREATE FUNCTION {river.table("version")}() RETURNS text LANGUAGE sql AS
            'SELECT ''PostgreSQL 15.12-YB-2025.2.1.0-b0 on x86_64''::text';
        CREATE FUNCTION {river.table("pg_notify")}(text, text) RETURNS void LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''there are no notifications here''; END';
    """)
    peer = Peer("go", command_of("go"), dsn, f"{river.name},pg_catalog")
    await peer.open()
    yield peer
    assert await peer.close() == 0


async def test_each_works_and_cancels_what_the_other_has_inserted(yugabyte: Peer, spawn: Spawn, connection: Connection) -> None:
    ours = await spawn("python")
    for working, other in ((ours, yugabyte), (yugabyte, ours)):
        how = _POLLING if working is ours else _POLLING | {"poll_only": False}
        await working.call("start", **how)
        (row,) = await insert(other, job("output", "told to nobody"))
        await reaches(other, row["id"], "completed")
        (row,) = await insert(other, job("cooperative_cancel"))
        await reaches(other, row["id"], "running")
        await other.call("cancel", id=row["id"])
        ended = await reaches(other, row["id"], "cancelled")
        assert [e["error"] for e in ended["errors"]] == ["JobCancelError: job cancelled remotely"]
        await other.call("queue", action="pause", name="default")
        await other.call("queue", action="resume", name="default")
        assert await listener(connection, working.application) is None
        await working.call("stop")


async def test_each_finds_the_others_duplicates(yugabyte: Peer, spawn: Spawn, connection: Connection, river: Schema) -> None:
    """Neither peer shows the mark, which the contract wants left out."""
    ours = await spawn("python")
    for number, (first, second) in enumerate(((ours, yugabyte), (yugabyte, ours))):
        once = job("", f"once {number}", unique={"by_args": True})
        (inserted,) = (await first.call("insert", jobs=[once]))["results"]
        (found,) = (await second.call("insert", jobs=[once]))["results"]
        assert [result["unique_skipped_as_duplicate"] for result in (inserted, found)] == [False, True]
        assert found["job"] == inserted["job"] == await get(ours, inserted["job"]["id"])
        stored = await raw_row(connection, river, inserted["job"]["id"])
        assert ("river:unique_nonce" in stored["metadata"]) is (first is yugabyte)
