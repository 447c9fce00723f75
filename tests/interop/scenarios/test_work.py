"""TestWork: what an attempt leaves behind for the next one, wherever that runs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_row
from tests.interop.scenarios.support import BOTH_WAYS, MAINTENANCE, get, insert, job, reaches, scenario


@scenario("TestWork/AttemptedByHistory", BOTH_WAYS)
async def test_attempted_by_history(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    rows = await insert(
        inserting, *(job("", f"{n}", max_attempts=200, scheduled_at="2031-01-01T00:00:00Z") for n in (99, 100, 130))
    )
    for row in rows:
        count = int(row["args"]["message"])
        await connection.execute(
            f"UPDATE {river.table('river_job')} SET attempt = $2::int, state = 'available', scheduled_at = now(), "
            "attempted_by = ARRAY(SELECT 'client ' || n FROM generate_series(1, $2::int) AS n) WHERE id = $1",
            row["id"],
            count,
        )
    await working.call("start", client_id="the last", leader_election_disabled=True)
    for row in rows:
        count = int(row["args"]["message"])
        worked = await reaches(inserting, row["id"], "completed")
        assert worked["attempt"] == count + 1
        assert worked["attempted_by"] == [*(f"client {n}" for n in range(count - 98, count + 1)), "the last"]


@scenario("TestWork/ReservedMetadata", BOTH_WAYS)
async def test_reserved_metadata(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    own = {"river:log": [{"attempt": 1, "log": "kept\n"}], "mine": {"deep": [1, None]}, "river:other": "kept too"}
    (output, snoozes, cancels) = await insert(
        inserting, *(job(behavior, "x", metadata=own) for behavior in ("output", "snooze_once", "cooperative_cancel"))
    )
    await working.call("start")
    await reaches(inserting, output["id"], "completed")
    await reaches(inserting, snoozes["id"], "completed")
    await reaches(inserting, cancels["id"], "running")
    await inserting.call("cancel", id=cancels["id"])
    await reaches(inserting, cancels["id"], "cancelled")
    added = {}
    for row in (output, snoozes, cancels):
        metadata = (await raw_row(connection, river, row["id"]))["metadata"]
        assert {key: metadata.pop(key) for key in own} == own
        added[row["args"]["behavior"]] = metadata
    assert added["cooperative_cancel"].keys() == {"cancel_attempted_at"}
    assert (added["output"], added["snooze_once"]) == ({"output": {"message": "x"}}, {"snoozes": 1})


@scenario("TestWork/ScheduleBoundaries", BOTH_WAYS)
async def test_schedule_boundaries(peers: list[Peer], connection: Connection) -> None:
    inserting, working = peers
    now: datetime = await connection.fetchval("SELECT now()")
    due = [(now + timedelta(seconds=seconds)).isoformat() for seconds in (-60, 1, 3, 7)]
    rows = await insert(inserting, *(job("", at, scheduled_at=at) for at in due), job("snooze_once", "", 2_000))
    *scheduled, snoozing = rows
    assert {row["state"] for row in scheduled} == {"scheduled"}
    await working.call("start")
    snoozed = await get(inserting, snoozing["id"])
    while "snoozes" not in snoozed["metadata"]:
        await asyncio.sleep(0.02)
        snoozed = await get(inserting, snoozing["id"])
    assert (snoozed["state"], snoozed["attempt"]) == ("available", 0)
    assert snoozed["scheduled_at"] > snoozed["attempted_at"]
    for row in rows:
        worked = await reaches(inserting, row["id"], "completed", MAINTENANCE)
        assert datetime.fromisoformat(worked["attempted_at"]) >= datetime.fromisoformat(worked["scheduled_at"])


@scenario("TestWork/Snooze", BOTH_WAYS)
async def test_snooze(peers: list[Peer]) -> None:
    inserting, working = peers
    (short, long) = await insert(inserting, job("snooze_once", "", 100), job("snooze_once", "", 10_000, max_attempts=1))
    await working.call("start")
    row = await reaches(inserting, short["id"], "completed")
    assert (row["attempt"], row["metadata"], row["errors"]) == (1, {"snoozes": 1}, [])
    row = await reaches(inserting, long["id"], "scheduled")
    assert (row["attempt"], row["metadata"], row["errors"], row["max_attempts"]) == (0, {"snoozes": 1}, [], 1)
    away = datetime.fromisoformat(row["scheduled_at"]) - datetime.fromisoformat(row["attempted_at"])
    assert timedelta(seconds=8) < away < timedelta(seconds=15)
    row = await reaches(inserting, long["id"], "completed", MAINTENANCE)
    assert (row["attempt"], len(row["attempted_by"])) == (1, 2)


@scenario("TestWork/ResumableCursor", BOTH_WAYS)
async def test_resumable_cursor(peers: list[Peer], connection: Connection, river: Schema) -> None:
    first, second = peers
    progress = (
        {"first_attempt": 1, "river:resumable_step": "first", "river:resumable_cursor": {"second": 7}},
        {"first_attempt": 1, "river:resumable_step": "second", "river:resumable_cursor": None, "cursor_observed": 7},
        {"first_attempt": 1, "river:resumable_step": "second", "river:resumable_cursor": None, "cursor_observed": 7},
    )
    (row,) = await insert(first, job("resumable_cursor"))
    for attempt, (peer, metadata) in enumerate(zip((first, second, first), progress, strict=True), start=1):
        await peer.call("start", client_id=peer.name, retry_delay_ms=3_600_000)
        ended = await reaches(second, row["id"], "retryable" if attempt < len(progress) else "completed")
        await peer.call("stop")
        assert (ended["attempt"], ended["attempted_by"][-1], len(ended["errors"])) == (attempt, peer.name, min(attempt, 2))
        assert (await raw_row(connection, river, row["id"]))["metadata"] == metadata
        if attempt < len(progress):
            await second.call("retry", id=row["id"])
