"""Scenarios of the suite's first revision that the second leaves out: how attempts end, and whose term it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import leader, raw_row, timeless
from tests.interop.scenarios.support import (
    BOTH_WAYS,
    EACH,
    LEADERSHIP,
    SIDE_BY_SIDE,
    get,
    insert,
    job,
    reaches,
    scenario,
    sees,
    until,
)


@scenario("panic_attempt_trace", EACH)
async def test_panic(peers: list[Peer]) -> None:
    """What a Go worker panics with is what a Python worker raises: its text is kept, and where it came from."""
    (peer,) = peers
    await peer.call("start", leader_election_disabled=True)
    (row,) = await insert(peer, job("panic", max_attempts=1))
    ended = await reaches(peer, row["id"], "discarded")
    ((attempt, error, trace),) = [(e["attempt"], e["error"], e["trace"]) for e in ended["errors"]]
    assert (attempt, error) == (1, "conformance panic" if peer.name == "go" else "RuntimeError: conformance panic")
    assert "worker.go" in trace if peer.name == "go" else "echo.py" in trace
    await sees(peer, "job_failed")


@scenario("error_handler_cancel_override", SIDE_BY_SIDE)
async def test_error_handler(peers: list[Peer], connection: Connection, river: Schema) -> None:
    histories = []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')} RESTART IDENTITY")
        await peer.call("start", error_handler_cancel=True, leader_election_disabled=True)
        rows = await insert(peer, job("error", "handled"), job("cancel", "its own"), job("snooze_once", "later", 30_000))
        for row, state in zip(rows, ("cancelled", "cancelled", "scheduled"), strict=True):
            await reaches(peer, row["id"], state)

        async def told(peer: Peer = peer, events: int = len(rows)) -> dict[str, Any] | None:
            stats: dict[str, Any] = await peer.call("stats")
            return stats if len(stats["events"]) == events else None

        stats = await until(told)
        found = [timeless(await raw_row(connection, river, row["id"]), within=10.0) for row in rows]
        histories.append((found, sorted(stats["events"]), stats["error_handler_calls"]))
        await peer.call("stop")
    assert histories[0] == histories[1]
    assert histories[0][1:] == (["job_cancelled", "job_cancelled", "job_snoozed"], 1)


@scenario("extension_hook_middleware_order", SIDE_BY_SIDE)
async def test_order_of_extensions(peers: list[Peer]) -> None:
    """Around an insert of three jobs, and around an attempt that ends well, one that fails and one that a hook refuses."""
    ours, theirs = [await peer.call("order") for peer in peers]
    assert ours == theirs
    assert theirs["calls"][:2] == ["plugin 1: insert_many 3", "plugin 2: insert_many 3"]
    assert len(theirs["errors"]) == 2


@scenario("timeout_cancellation", EACH)
async def test_timeout(peers: list[Peer]) -> None:
    """The words differ: Go's context says ``context deadline exceeded``."""
    (peer,) = peers
    await peer.call("start", job_timeout_ms=200, retry_delay_ms=60_000, leader_election_disabled=True)
    (row,) = await insert(peer, job("cooperative_cancel"))
    ended = await reaches(peer, row["id"], "retryable")
    assert (ended["attempt"], ended["metadata"]) == (1, {})
    (error,) = ended["errors"]
    assert "deadline" in error["error"] if peer.name == "go" else "timed out after" in error["error"]
    await sees(peer, "job_failed")
    assert (await peer.call("stats"))["cancelled_at_start"] == 0


@scenario("refetched_attempt_cancellation", BOTH_WAYS)
async def test_a_cancellation_is_of_one_attempt(peers: list[Peer]) -> None:
    cancelling, working = peers
    await working.call("start", leader_election_disabled=True, fetch_poll_interval_ms=100)
    (row,) = await insert(cancelling, job("cooperative_cancel"))
    for attempt in (1, 2):
        assert (await reaches(cancelling, row["id"], "running"))["attempt"] == attempt
        await cancelling.call("cancel", id=row["id"])
        ended = await reaches(cancelling, row["id"], "cancelled")
        assert [e["attempt"] for e in ended["errors"]] == list(range(1, attempt + 1))
        await cancelling.call("retry", id=row["id"])
    assert (await reaches(cancelling, row["id"], "running"))["attempt"] == 3
    assert (await working.call("stats"))["cancelled_at_start"] == 0
    await cancelling.call("cancel", id=row["id"])
    await reaches(cancelling, row["id"], "cancelled")


@scenario("hard_shutdown_soft_stop_classification", SIDE_BY_SIDE)
async def test_hard_stop(peers: list[Peer], connection: Connection, river: Schema) -> None:
    histories = []
    for peer in peers:
        await connection.execute(f"TRUNCATE {river.table('river_job')} RESTART IDENTITY")
        await peer.call("start", client_id="stops", leader_election_disabled=True)
        rows = await insert(peer, job("cooperative_cancel", "told"), job("sleep", "sleeps", 60_000, metadata={"kept": 1}))
        for row in rows:
            await reaches(peer, row["id"], "running")
        await peer.call("stop", cancel=True)
        histories.append([timeless(await raw_row(connection, river, row["id"]), within=10.0) for row in rows])
    assert histories[0] == histories[1]
    assert [(row["state"], row["attempt"], row["errors"]) for row in histories[0]] == [("available", 0, None)] * 2


@scenario("shutdown_after_cancel_attempt", BOTH_WAYS)
async def test_stop_after_a_cancellation(peers: list[Peer]) -> None:
    cancelling, working = peers
    await working.call("start", leader_election_disabled=True)
    (row,) = await insert(cancelling, job("cooperative_cancel"))
    await reaches(cancelling, row["id"], "running")
    await cancelling.call("cancel", id=row["id"])
    await reaches(cancelling, row["id"], "cancelled")
    await working.call("stop", cancel=True)
    ended = await get(cancelling, row["id"])
    assert (ended["state"], ended["attempt"]) == ("cancelled", 1)
    assert [e["error"] for e in ended["errors"]] == ["JobCancelError: job cancelled remotely"]


_SHORT_TERM = timedelta(seconds=8)


@pytest.mark.long
@scenario("leadership_same_client_id_term_replacement", EACH)
async def test_a_term_is_not_that_of_a_namesake(peers: list[Peer], connection: Connection, river: Schema) -> None:
    """A leader whose row somebody of its id has taken renews nothing, and leads again in a term of its own."""
    (peer,) = peers
    await peer.call("start", client_id="same")
    await until(lambda: leader(connection, river), LEADERSHIP)
    table = river.table("river_leader")
    taken, ends = await connection.fetchrow(
        f"UPDATE {table} SET elected_at = now(), expires_at = now() + $1 RETURNING elected_at, expires_at", _SHORT_TERM
    )
    sql = f"SELECT elected_at, expires_at FROM {table}"

    async def next_term() -> bool:
        row = await connection.fetchrow(sql)
        if row is None or row["elected_at"] != taken:
            return row is not None
        assert row["expires_at"] == ends, "the namesake's term was renewed"
        return False

    await until(next_term, LEADERSHIP)
    assert await connection.fetchval(f"SELECT elected_at >= $1 FROM {table}", ends)
    assert (await leader(connection, river) or ("",))[0] == "same"
