"""TestJobs: what one implementation inserts the other works, and their rows are alike in every column."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_row, raw_rows, timeless
from tests.interop.scenarios.support import BOTH_WAYS, SIDE_BY_SIDE, get, insert, job, reaches, scenario, sees


@scenario("TestJobs/InsertThenWork", BOTH_WAYS)
async def test_insert_then_work(peers: list[Peer]) -> None:
    inserting, working = peers
    rows = await insert(
        inserting,
        job(),
        job("output", "a<é>&"),
        job("cancel", max_attempts=1),
        job("error", max_attempts=1),
        job("snooze_once"),
    )
    await working.call("start", client_id="works")
    plain, output, cancelled, failed, snoozed = (row["id"] for row in rows)
    row = await reaches(inserting, plain, "completed")
    assert (row["attempt"], row["attempted_by"], row["errors"]) == (1, ["works"], [])
    row = await reaches(inserting, output, "completed")
    assert row["metadata"] == {"output": {"message": "a<é>&"}}
    row = await reaches(inserting, cancelled, "cancelled")
    assert [e["error"] for e in row["errors"]] == ["JobCancelError: cancelled by conformance worker"]
    row = await reaches(inserting, failed, "discarded")
    assert [(e["attempt"], e["error"], e["trace"]) for e in row["errors"]] == [(1, "conformance retryable error", "")]
    row = await reaches(inserting, snoozed, "completed")
    assert (row["attempt"], row["metadata"]) == (1, {"snoozes": 1})
    await working.call("stop")


@scenario("TestJobs/ExhaustedRetry", BOTH_WAYS)
async def test_exhausted_retry(peers: list[Peer]) -> None:
    retrying, working = peers
    exhausted, left = await insert(retrying, job("error", max_attempts=1), job("cancel", max_attempts=3))
    await working.call("start")
    ended = await reaches(retrying, exhausted["id"], "discarded")
    cancelled = await reaches(retrying, left["id"], "cancelled")
    await working.call("stop")
    for before, max_attempts in ((ended, 2), (cancelled, 3)):
        row = await retrying.call("retry", id=before["id"])
        assert (row["state"], row["attempt"], row["max_attempts"]) == ("available", 1, max_attempts)
        assert row["finalized_at"] is None
        assert row["scheduled_at"] > before["finalized_at"]
        assert row["errors"] == before["errors"]
        assert await get(working, row["id"]) == row


_EVERY_OPTION = {
    "max_attempts": 7,
    "metadata": {"note": "a<b>&c", "deep": {"list": [1, 2.5, None, True]}},
    "priority": 3,
    "queue": "other_queue",
    "scheduled_at": "2031-02-03T04:05:06.789Z",
    "tags": ["tag_1", "tag-two"],
    "unique": {"by_args": True, "by_queue": True},
}


@scenario("TestJobs/InsertRows", SIDE_BY_SIDE)
async def test_insert_rows(peers: list[Peer], connection: Connection, river: Schema) -> None:
    histories = []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')} RESTART IDENTITY")
        await insert(peer, job("output", "plain é<&>\u2028", 5))
        await insert(peer, job("", "every option", **_EVERY_OPTION))
        await insert(peer, job("", "pending", pending=True))
        await insert(peer, job("", "pending later", pending=True, scheduled_at="2031-02-03T04:05:06.789Z"))
        await insert(peer, job("", "past", scheduled_at="2020-02-03T04:05:06.789Z"))
        await insert(peer, *(job("", f"batch {n}", tags=[f"batch_{n}"], metadata={"n": n}) for n in range(3)))
        (cancelled, retried) = await insert(peer, job("", "cancelled"), job("", "retried"))
        await peer.call("cancel", id=cancelled["id"])
        await peer.call("cancel", id=retried["id"])
        await peer.call("retry", id=retried["id"])
        histories.append([timeless(row) for row in await raw_rows(connection, river)])
    assert histories[0] == histories[1]
    assert len(histories[0]) == 10


@scenario("TestJobs/ExternalCompletionRace", BOTH_WAYS)
async def test_external_completion_race(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    table, enum = river.table("river_job"), river.table("river_job_state")
    await working.call("start")
    events = []
    for state, event in (("completed", "job_completed"), ("discarded", "job_failed"), ("completed", "job_completed")):
        (row,) = await insert(inserting, job("barrier_output", f"gate {len(events)}", metadata={"kept": 1}))
        await reaches(inserting, row["id"], "running")
        # Of today: what ended long ago the leader deletes.
        ended_at = await connection.fetchval(
            f"UPDATE {table} SET state = $2::text::{enum}, finalized_at = now(), "
            """errors = ARRAY['{"at": "2026-01-02T03:04:05Z", "attempt": 1, "error": "by others", "trace": ""}']::jsonb[] """
            "WHERE id = $1 RETURNING finalized_at",
            row["id"],
            state,
        )
        await working.call("release", name=f"gate {len(events)}")
        events.append(event)
        await sees(working, *events)
        ended = await get(inserting, row["id"])
        assert (ended["state"], datetime.fromisoformat(ended["finalized_at"])) == (state, ended_at)
        assert ended["metadata"] == {"kept": 1, "output": {"race": "worker"}}
        assert [e["error"] for e in ended["errors"]] == ["by others"]


@scenario("TestJobs/JobControl", BOTH_WAYS)
async def test_job_control(peers: list[Peer]) -> None:
    one, other = peers
    for options in ({}, {"scheduled_at": "2031-02-03T04:05:06.789Z"}, {"pending": True}):
        (inserted,) = await insert(one, job("", "controlled", **options))
        for canceller, retrier in ((one, other), (other, one)):
            cancelled = await canceller.call("cancel", id=inserted["id"])
            assert cancelled["state"] == "cancelled"
            assert cancelled["metadata"].keys() == {"cancel_attempted_at"}
            assert await get(one, inserted["id"]) == await get(other, inserted["id"]) == cancelled
            assert await retrier.call("cancel", id=inserted["id"]) == cancelled
            retried = await retrier.call("retry", id=inserted["id"])
            assert (retried["state"], retried["finalized_at"], retried["metadata"]) == ("available", None, {})
            assert await get(one, inserted["id"]) == await get(other, inserted["id"]) == retried


_LARGE = 9_007_199_254_740_993
"""The least whole number that a double cannot hold."""


@scenario("TestJobs/LargeIDs", BOTH_WAYS)
async def test_large_ids(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    await connection.execute(f"ALTER SEQUENCE {river.table('river_job_id_seq')} RESTART WITH {_LARGE}")
    rows = await insert(inserting, job("", "worked"), job("", "controlled", scheduled_at="2031-02-03T04:05:06Z"))
    assert [row["id"] for row in rows] == [_LARGE, _LARGE + 1]
    assert (await working.call("cancel", id=_LARGE + 1))["id"] == _LARGE + 1
    assert (await inserting.call("retry", id=_LARGE + 1))["id"] == _LARGE + 1
    await working.call("start")
    for row in rows:
        await reaches(working, row["id"], "completed")
    page = await inserting.call("list", limit=1)
    assert (await working.call("list", after=page["cursor"]))["jobs"][0]["id"] == _LARGE + 1


_NUMBERS = '{"power":1e400,"digits":123456789012345678901234567890,"places":0.1234567890123456789012345678901,"small":1e-40}'


@scenario("TestJobs/LargeNumbers", BOTH_WAYS)
async def test_large_numbers(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    wanted = json.loads(await connection.fetchval("SELECT $1::text::jsonb::text", _NUMBERS), parse_float=Decimal)
    rows = []
    for behavior in ("output", "snooze_once", "cancel", "error"):
        described = json.dumps(job(behavior, "numbers", max_attempts=1, metadata={}))
        described = described.replace('"metadata": {}', f'"metadata": {_NUMBERS}')
        answer = await inserting.call_text("insert", f'{{"jobs": [{described}]}}')
        rows.append(answer["results"][0]["job"])
        assert rows[-1]["metadata"] == wanted
    await working.call("start")
    own = {"output": {"message": "numbers"}}, {"snoozes": 1}, {}, {}
    for row, state, more in zip(rows, ("completed", "completed", "cancelled", "discarded"), own, strict=True):
        for peer in peers:
            assert (await reaches(peer, row["id"], state))["metadata"] == wanted | more
        assert (await raw_row(connection, river, row["id"]))["metadata"] == wanted | more
    matches = await working.call_text("list", '{"metadata": {"digits": 123456789012345678901234567890}}')
    assert len(matches["jobs"]) == len(rows)


_ODD_ROW = """
    INSERT INTO {table} (id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at, priority, args,
        attempted_by, errors, kind, metadata, queue, tags, unique_key, unique_states)
    VALUES (77, 'discarded', 3, 4, '2026-01-02 03:04:05.12+00', '2026-01-01 00:00:00+00', '2026-01-02 03:04:06.123456+00',
        '2026-01-02 03:04:04+05:30', 4, '{{"behavior": "", "duration_ms": 0, "message": "raw"}}', '{{one,two,three}}',
        ARRAY['{{"at": "2026-01-02T03:04:05.6789Z", "attempt": 3, "error": "failed: \\"x\\"", "trace": "one\\ntwo"}}']::jsonb[],
        'conformance_echo', '{{"b": [1, {{"c": null}}], "a": "é"}}', 'raw_queue', '{{tag_1,tag_2}}', '\\x00ff', B'11110101')
"""


@scenario("TestJobs/RowRoundTrip", SIDE_BY_SIDE)
async def test_row_round_trip(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await connection.execute(_ODD_ROW.format(table=river.table("river_job")))
    expected = {
        "args": {"behavior": "", "duration_ms": 0, "message": "raw"},
        "attempt": 3,
        "attempted_at": "2026-01-02T03:04:05.12Z",
        "attempted_by": ["one", "two", "three"],
        "created_at": "2026-01-01T00:00:00Z",
        "errors": [{"at": "2026-01-02T03:04:05.6789Z", "attempt": 3, "error": 'failed: "x"', "trace": "one\ntwo"}],
        "finalized_at": "2026-01-02T03:04:06.123456Z",
        "id": 77,
        "kind": "conformance_echo",
        "max_attempts": 4,
        "metadata": {"a": "é", "b": [1, {"c": None}]},
        "priority": 4,
        "queue": "raw_queue",
        "scheduled_at": "2026-01-01T21:34:04Z",
        "state": "discarded",
        "tags": ["tag_1", "tag_2"],
        "unique_key": "00ff",
        "unique_states": ["available", "completed", "pending", "retryable", "running", "scheduled"],
    }
    for peer in peers:
        assert await get(peer, 77) == expected


@scenario("TestJobs/WideIntegers", BOTH_WAYS)
async def test_wide_integers(peers: list[Peer]) -> None:
    inserting, working = peers
    (row,) = await insert(inserting, job("", "wide", max_attempts=40_000))
    assert row["max_attempts"] == 32_767
    assert await get(working, row["id"]) == row
    await working.call("start")
    assert (await reaches(inserting, row["id"], "completed"))["max_attempts"] == 32_767


_ODD_TEXT = "a<b>&c\u2028d é"
"""What JSON encoders escape in different ways."""


@pytest.mark.parametrize("within", [10.0, pytest.param(2.0, marks=pytest.mark.long)], ids=["10 s", "2 s"])
@scenario("TestJobs/WorkedRows", SIDE_BY_SIDE)
async def test_worked_rows(peers: list[Peer], connection: Connection, river: Schema, within: float) -> None:
    """The suite's own form has one slot, jobs that River for Go inserts, and 2 s between the times of two rows."""
    (_, reference), histories = peers, []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')} RESTART IDENTITY")
        described: dict[str, Any] = {"metadata": {"note": _ODD_TEXT}, "tags": ["job-rows", "tag_2"]}
        rows = await insert(
            reference,
            job("", _ODD_TEXT, max_attempts=1, **described),
            job("error", _ODD_TEXT, max_attempts=1, **described),
            job("output", _ODD_TEXT, max_attempts=1, **described),
            job("error", "fails and is tried again", **described),
            job("cancel", "cancels itself"),
            job("snooze_once", "snoozes", 30_000),
        )
        await peer.call("start", client_id="worked-rows", max_workers=1, retry_delay_ms=60_000)
        states = ("completed", "discarded", "completed", "retryable", "cancelled", "scheduled")
        for row, state in zip(rows, states, strict=True):
            await reaches(peer, row["id"], state)
        await peer.call("stop")
        histories.append([timeless(row, within=within) for row in await raw_rows(connection, river)])
    assert histories[0] == histories[1]
    assert len(histories[0]) == 6
