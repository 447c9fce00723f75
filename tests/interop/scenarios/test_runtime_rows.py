"""TestRuntimeRows: the rows that claims, snoozes, the scheduler and the rescuer leave are alike in every column."""

from __future__ import annotations

from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_rows, timeless
from tests.interop.scenarios.support import MAINTENANCE, SIDE_BY_SIDE, insert, job, reaches, scenario

_UNIQUE: dict[str, Any] = {"by_args": True, "by_state": ["available", "pending", "running", "scheduled"]}


async def _history(peer: Peer, connection: Connection, river: Schema) -> list[dict[str, Any]]:
    """The rows of one implementation after it has claimed, snoozed, discarded and rescued."""
    table = river.table("river_job")
    await connection.execute(f"TRUNCATE {table} RESTART IDENTITY")
    claimed, snoozed, holder, *stuck = await insert(
        peer,
        job("barrier_wait", "gate", metadata={"kept": 1}),
        job("snooze_once", "", 3_600_000, metadata={"other": "x"}),
        job("", "held", unique=_UNIQUE, queue="unworked"),
        *(job("", name, max_attempts=3, queue="unworked") for name in ("retried", "exhausted", "cancelled")),
    )
    conflicting = await connection.fetchval(
        f"INSERT INTO {table} (state, kind, args, queue, max_attempts, scheduled_at, unique_key, unique_states) "
        "SELECT 'retryable', kind, args, queue, max_attempts, now(), unique_key, unique_states "
        f"FROM {table} WHERE id = $1 RETURNING id",
        holder["id"],
    )
    for row, attempt, metadata in zip(
        stuck, (1, 3, 1), ("{}", "{}", '{"cancel_attempted_at": "2026-01-02T03:04:05Z"}'), strict=True
    ):
        await connection.execute(
            f"UPDATE {table} SET state = 'running', attempt = $2, attempted_by = ARRAY['gone'], metadata = $3::text::jsonb, "
            "attempted_at = created_at - interval '1 hour' WHERE id = $1",
            row["id"],
            attempt,
            metadata,
        )
    await peer.call("start", client_id="runs", rescue_after_ms=60_000, job_timeout_ms=30_000, retry_delay_ms=3_600_000)
    ends = zip(
        (claimed["id"], snoozed["id"], conflicting, *(row["id"] for row in stuck)),
        ("running", "scheduled", "discarded", "retryable", "discarded", "cancelled"),
        strict=True,
    )
    for job_id, state in ends:
        await reaches(peer, job_id, state, MAINTENANCE)
    rows = [_coarse(row) for row in await raw_rows(connection, river)]
    await peer.call("release", name="gate")
    await peer.call("stop")
    return rows


def _coarse(row: dict[str, Any]) -> dict[str, Any]:
    """Claims are compared to 2 s; the leader's services come at moments of their own."""
    return timeless(row, within=2.0 if row["state"] == "running" else 60.0)


@scenario("TestRuntimeRows", SIDE_BY_SIDE)
async def test_runtime_rows(peers: list[Peer], connection: Connection, river: Schema) -> None:
    ours, theirs = [await _history(peer, connection, river) for peer in peers]
    assert ours == theirs
