"""TestList: the same pages, and cursors that go from one implementation to the other."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.support import BOTH_WAYS, insert, job, scenario

_FINAL = ("cancelled", "completed", "discarded")
_STATES = ("available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled")
_LISTS: list[dict[str, Any]] = [
    {"order_by": "id"},
    {"order_by": "scheduled_at"},
    {"order_by": "finalized_at"},
    {"order_by": "finalized_at", "states": ["completed", "cancelled"]},
    {"order_by": "time"},
    {"order_by": "time", "states": ["running", "completed"]},
    {"order_by": "time", "states": ["completed", "running", "scheduled"]},
    {"order_by": "time", "states": ["scheduled", "completed"]},
    {"order_by": "time", "kinds": ["odd<>&~~~kind"]},
]


async def _fill(connection: Connection, river: Schema) -> None:
    """24 jobs in every state, some of them of the same times."""
    start = datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC)
    for number, state in zip(range(24), itertools.cycle(_STATES), strict=False):
        at = start + timedelta(microseconds=1000 * (number // 3))
        kind = "odd<>&~~~kind" if number % 2 else "conformance_echo"
        await connection.execute(
            f"INSERT INTO {river.table('river_job')} "
            "(state, kind, args, queue, created_at, scheduled_at, attempted_at, finalized_at) "
            f"VALUES ($1::text::{river.table('river_job_state')}, $2, '{{}}', $3, $4, $4, $5, $6)",
            state,
            kind,
            f"queue_{number % 3}",
            at,
            at if state in (*_FINAL, "running") and number != 6 else None,
            at if state in _FINAL else None,
        )


async def _pages(turns: list[Peer], request: dict[str, Any]) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every page by both; the cursor for the next comes from the one whose turn it is, and goes to both."""
    after: dict[str, str] = {}
    for peer in itertools.cycle(turns):
        mine, theirs = [await turn.call("list", **request, **after) for turn in turns]
        yield mine, theirs
        if mine["cursor"] is None:
            return
        after = {"after": (mine if peer is turns[0] else theirs)["cursor"]}


@scenario("TestList/CursorInterchange", BOTH_WAYS)
async def test_cursor_interchange(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await _fill(connection, river)
    for options, direction in itertools.product(_LISTS, ("asc", "desc")):
        request, seen = {**options, "direction": direction, "limit": 5}, []
        async for mine, theirs in _pages(peers, request):
            assert mine == theirs, request
            seen += [row["id"] for row in mine["jobs"]]
        everything = await peers[1].call("list", **options, direction=direction)
        assert seen == [row["id"] for row in everything["jobs"]], request
        assert len(seen) == len(set(seen)) > 5


@scenario("TestList/Filters", BOTH_WAYS)
async def test_filters(peers: list[Peer]) -> None:
    inserting, listing = peers
    wanted = {"queue": "other", "priority": 2, "tags": ["tag_1", "tag_2"], "metadata": {"a": {"b": [1]}, "c": True}}
    rows = await insert(
        inserting,
        job("", "match", **wanted),
        job("", "queue", **wanted | {"queue": "default"}),
        job("", "priority", **wanted | {"priority": 3}),
        job("", "tag", **wanted | {"tags": ["tag_1"]}),
        job("", "metadata", **wanted | {"metadata": {"a": {"b": [2]}}}),
        job("", "state", **wanted, scheduled_at="2031-02-03T04:05:06Z"),
        job("", "match too", **wanted),
        job("", "not this id", **wanted),
    )
    request = {
        "ids": [row["id"] for row in rows[:-1]],
        "kinds": ["conformance_echo", "conformance_echo_peer"],
        "queues": ["other", "third"],
        "priorities": [1, 2],
        "states": ["available", "pending"],
        "tags_all": ["tag_2", "tag_1"],
        "metadata": {"a": {"b": [1]}},
    }
    for peer in (listing, inserting):
        assert (await peer.call("list", **request))["jobs"] == [rows[0], rows[6]]
        for name in request:
            fewer = {key: value for key, value in request.items() if key != name}
            assert len((await peer.call("list", **fewer))["jobs"]) == (2 if name == "kinds" else 3), name
