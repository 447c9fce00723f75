"""TestUnique: both implementations hold the same keys, so each finds the other's duplicates."""

from __future__ import annotations

import asyncio
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import lock_waits, raw_row
from tests.interop.scenarios.support import BOTH_WAYS, get, insert, job, scenario, until

_REQUIRED = ["available", "pending", "running", "scheduled"]
_UNIQUE: list[dict[str, Any]] = [
    {"by_args": True},
    {"by_args": True, "exclude_kind": True},
    {"by_period_ms": 90_000},
    {"by_period_ms": 7 * 86_400_000, "exclude_kind": True},
    {"by_queue": True},
    {"by_state": _REQUIRED},
    {"by_state": [*_REQUIRED, "completed", "cancelled", "discarded", "retryable"]},
    {"by_args": True, "by_period_ms": 86_400_000, "by_queue": True, "by_state": [*_REQUIRED, "completed"]},
]


@scenario("TestUnique/Columns", BOTH_WAYS)
async def test_columns(peers: list[Peer], connection: Connection, river: Schema) -> None:
    first, second = peers
    for number, unique in enumerate(_UNIQUE):
        described = job("", f"<{number}> é", unique=unique, queue=f"queue_{number}", scheduled_at="2031-02-03T04:05:06.7Z")
        (result,) = (await first.call("insert", jobs=[described]))["results"]
        assert result["unique_skipped_as_duplicate"] is False, unique
        raw = await raw_row(connection, river, result["job"]["id"])
        assert raw["unique_key"].hex() == result["job"]["unique_key"]
        (found,) = (await second.call("insert", jobs=[described]))["results"]
        assert (found["unique_skipped_as_duplicate"], found["job"]) == (True, result["job"]), unique
        await connection.execute(f"DELETE FROM {river.table('river_job')}")
        (own,) = await insert(second, described)
        other = await raw_row(connection, river, own["id"])
        for column in ("unique_key", "unique_states"):
            assert other[column] == raw[column], unique
        await connection.execute(f"DELETE FROM {river.table('river_job')}")


@scenario("TestUnique/ConcurrentConflict", BOTH_WAYS)
async def test_concurrent_conflict(peers: list[Peer], connection: Connection) -> None:
    first, second = peers
    for commit in (True, False):
        described = job("", f"only one {commit}", unique={"by_args": True})
        await first.call("tx_begin", tx="a")
        (winner,) = await insert(first, described, tx="a")
        blocked = asyncio.create_task(second.call("insert", jobs=[described]))
        await until(lambda: lock_waits(connection, second.application))
        assert not blocked.done()
        await first.call("tx_end", tx="a", commit=commit)
        (result,) = (await blocked)["results"]
        assert result["unique_skipped_as_duplicate"] is commit
        assert (result["job"]["id"] == winner["id"]) is commit


@scenario("TestUnique/SkipKeepsExistingKind", BOTH_WAYS)
async def test_skip_keeps_existing_kind(peers: list[Peer], connection: Connection, river: Schema) -> None:
    first, second = peers
    described = job("", "shared", unique={"by_args": True, "exclude_kind": True})
    (row,) = await insert(first, described)
    await connection.execute(f"UPDATE {river.table('river_job')} SET kind = 'conformance_echo_peer'")
    for peer in (second, first):
        (result,) = (await peer.call("insert", jobs=[described]))["results"]
        assert result["unique_skipped_as_duplicate"] is True
        assert result["job"] == row | {"kind": "conformance_echo_peer"}
    assert (await get(second, row["id"]))["kind"] == "conformance_echo_peer"
