"""TestFleet: clients of both kinds work one queue, each what it knows and each job once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.peers import Peer
from tests.interop.scenarios.database import raw_rows
from tests.interop.scenarios.support import (
    BOTH_WAYS,
    EACH,
    MAINTENANCE,
    SIDE_BY_SIDE,
    get,
    insert,
    job,
    reaches,
    scenario,
    until,
)

_RESCUED = "Stuck job rescued by JobRescuer"
_UNKNOWN = "job kind is not registered in the client's Workers bundle: "


async def _rename(connection: Connection, river: Schema, kind: str, *ids: int) -> None:
    """Every insert has the kind ``conformance_echo``; give some jobs another."""
    await connection.execute(f"UPDATE {river.table('river_job')} SET kind = $1 WHERE id = ANY($2::bigint[])", kind, ids)


async def _all_in(connection: Connection, river: Schema, state: str) -> list[dict[str, Any]]:
    rows = await raw_rows(connection, river)
    return rows if all(row["state"] == state for row in rows) else []


@scenario("TestFleet/ClaimOrder", BOTH_WAYS)
async def test_claim_order(peers: list[Peer], connection: Connection, river: Schema, tmp_path: Path) -> None:
    """The order in which attempts begin: ours may claim two short jobs at once, with one time for both."""
    inserting, working = peers
    past = "2020-01-01T00:00:0{}Z"
    rows = await insert(
        inserting,
        job("", "5", priority=2),
        job("", "2", priority=1, scheduled_at=past.format(2)),
        job("", "1", priority=1, scheduled_at=past.format(1)),
        job("", "6", priority=2),
        job("", "3", priority=1),
        job("", "7", priority=4, scheduled_at=past.format(1)),
        job("", "4", priority=1),
    )
    assert {row["state"] for row in rows if row["scheduled_at"] < "2021"} == {"scheduled"}
    await connection.execute(f"UPDATE {river.table('river_job')} SET state = 'available'")
    runs = tmp_path / "runs.jsonl"
    await working.call("start", client_id="works", max_workers=1, leader_election_disabled=True, runs=str(runs))
    worked = await until(lambda: _all_in(connection, river, "completed"))
    messages = {row["id"]: row["args"]["message"] for row in worked}
    events = [json.loads(line) for line in runs.read_text(encoding="ascii").splitlines()]
    assert [messages[event["job"]] for event in events if event["event"] == "started"] == list("1234567")
    assert len(events) == 2 * len(worked)


@scenario("TestFleet/Competition", SIDE_BY_SIDE)
async def test_competition(peers: list[Peer], connection: Connection, river: Schema) -> None:
    await asyncio.gather(*(peer.call("start", client_id=peer.name) for peer in peers))
    await insert(peers[0], *(job("sleep", f"job {n}", 50) for n in range(300)))
    rows = await until(lambda: _all_in(connection, river, "completed"), MAINTENANCE)
    assert {row["attempt"] for row in rows} == {1}
    assert {tuple(row["attempted_by"]) for row in rows} == {(peer.name,) for peer in peers}
    for peer in peers:
        await peer.call("stop")


@scenario("TestFleet/HeterogeneousFleet", BOTH_WAYS)
async def test_heterogeneous_fleet(peers: list[Peer], connection: Connection, river: Schema) -> None:
    """A client leaves what it does not know, although that comes first, to one that starts later."""
    first, second = peers
    rows = await insert(first, *(job("", f"job {n}", scheduled_at="2031-01-01T00:00:00Z") for n in range(40)))
    ids = [row["id"] for row in rows]
    await _rename(connection, river, "conformance_echo_peer", *ids[20:])
    await connection.execute(f"UPDATE {river.table('river_job')} SET state = 'available', scheduled_at = now()")
    for kind, peer in {"conformance_echo_peer": first, "conformance_echo": second}.items():
        waiting = [await get(first, job_id) for job_id in ids[:20]] if peer is first else []
        options = {"client_id": kind, "worker_kinds": [kind], "fetch_only_known_kinds": True, "max_workers": 1}
        await peer.call("start", leader_election_disabled=True, **options)
        for job_id in ids[20:]:
            await reaches(first, job_id, "completed")
        for row in waiting:
            assert await get(first, row["id"]) == row
    rows = await until(lambda: _all_in(connection, river, "completed"))
    assert all(row["attempt"] == 1 and row["attempted_by"] == [row["kind"]] for row in rows)


@scenario("TestFleet/KindAlias", EACH)
async def test_kind_alias(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    for fetch_only_known_kinds in (False, True):
        old, new, unknown = await insert(peer, job("output", "old"), job("output", "new"), job("", "unknown"))
        await _rename(connection, river, "conformance_echo_renamed", new["id"])
        await _rename(connection, river, "conformance_echo_peer", unknown["id"])
        await peer.call(
            "start",
            worker_kinds=["conformance_echo_renamed"],
            fetch_only_known_kinds=fetch_only_known_kinds,
            retry_delay_ms=60_000,
        )
        for row, kind in ((old, "conformance_echo"), (new, "conformance_echo_renamed")):
            worked = await reaches(peer, row["id"], "completed")
            assert (worked["kind"], worked["attempt"]) == (kind, 1)
        if fetch_only_known_kinds:
            assert (await get(peer, unknown["id"]))["attempt"] == 0
        else:
            await reaches(peer, unknown["id"], "retryable")
        await peer.call("stop")


@scenario("TestFleet/RescuerUnknownKind", EACH)
async def test_rescuer_unknown_kind(peers: list[Peer], connection: Connection, river: Schema) -> None:
    """Two jobs that a client which is gone left running, one of a kind without a worker."""
    (peer,) = peers
    known, unknown = await insert(peer, job("", "known"), job("", "unknown"))
    await _rename(connection, river, "conformance_unknown", unknown["id"])
    await connection.execute(
        f"UPDATE {river.table('river_job')} SET state = 'running', attempt = 1, attempted_by = ARRAY['gone'], "
        "attempted_at = now() - interval '1 hour'"
    )
    await peer.call("start", rescue_after_ms=2_000, job_timeout_ms=1_000, retry_delay_ms=3_600_000)
    for row, state in ((unknown, "discarded"), (known, "retryable")):
        rescued = await reaches(peer, row["id"], state, MAINTENANCE)
        (error,) = rescued["errors"]
        assert (error["attempt"], error["error"], error["trace"]) == (1, _RESCUED, "")
        assert (rescued["attempt"], rescued["metadata"]["river:rescue_count"]) == (1, 1)
        assert (rescued["finalized_at"] is not None) == (state == "discarded")


@scenario("TestFleet/UnknownKind", BOTH_WAYS)
async def test_unknown_kind(peers: list[Peer], connection: Connection, river: Schema) -> None:
    inserting, working = peers
    later: dict[str, Any] = {"scheduled_at": "2031-01-01T00:00:00Z"}
    row, last = await insert(inserting, job("", "unknown", **later), job("", "unknown", max_attempts=1, **later))
    await _rename(connection, river, "conformance_unknown", row["id"], last["id"])
    await connection.execute(f"UPDATE {river.table('river_job')} SET state = 'available', scheduled_at = now()")
    await working.call("start", client_id="knows it not", leader_election_disabled=True)
    (known,) = await insert(inserting, job("", "known"))
    assert (await reaches(inserting, known["id"], "completed"))["attempt"] == 1
    discarded = await reaches(inserting, last["id"], "discarded")
    assert [e["error"] for e in discarded["errors"]] == [f"{_UNKNOWN}conformance_unknown"]

    async def failures(count: int) -> dict[str, Any] | None:
        found = await get(inserting, row["id"])
        return found if len(found["errors"]) == count and found["state"] != "running" else None

    assert (await until(lambda: failures(1)))["state"] == "available"
    failed = await until(lambda: failures(2))
    assert failed["state"] == "retryable"
    expected = [(attempt, f"{_UNKNOWN}conformance_unknown", "") for attempt in (1, 2)]
    assert [(e["attempt"], e["error"], e["trace"]) for e in failed["errors"]] == expected
    assert failed["attempted_by"] == ["knows it not"] * 2
