"""TestChaos: rows are locked, connections lost, processes killed; every job still ends once and right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.peers import Peer
from tests.interop.scenarios.database import connections, leader, listener, lock_waits, raw_row, raw_rows
from tests.interop.scenarios.proxy import Proxy
from tests.interop.scenarios.support import (
    BOTH_WAYS,
    EACH,
    LEADERSHIP,
    MAINTENANCE,
    RESCUE,
    get,
    insert,
    job,
    reaches,
    scenario,
    until,
)

_NEVER = 60_000
_RESCUED = "Stuck job rescued by JobRescuer"


@scenario("TestChaos/CompletionRowLock", EACH)
async def test_completion_row_lock(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    await peer.call("start")
    rows = await insert(peer, job("barrier_wait", "gate"), job("barrier_wait", "gate"))
    for row in rows:
        await reaches(peer, row["id"], "running")
    async with connection.transaction():
        await connection.execute(f"SELECT 1 FROM {river.table('river_job')} WHERE id = $1 FOR UPDATE", rows[0]["id"])
        await peer.call("release", name="gate")
        await until(lambda: lock_waits(connection, peer.application))
        (more,) = await insert(peer, job())
        await asyncio.sleep(2)
        assert (await get(peer, rows[0]["id"]))["state"] == "running"
    for row in (*rows, more):
        assert (await reaches(peer, row["id"], "completed", MAINTENANCE))["attempt"] == 1


@scenario("TestChaos/CompletionTransientFailure", EACH)
async def test_completion_transient_failure(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    refusals = f'"{river.name}".refusals'
    await connection.execute(f"""
        CREATE SEQUENCE {refusals};
        CREATE FUNCTION "{river.name}".refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('{refusals}') <= 2 THEN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON {river.table("river_job")} FOR EACH ROW
            WHEN (NEW.state = 'completed' AND OLD.state = 'running') EXECUTE FUNCTION "{river.name}".refuse()""")
    await peer.call("start")
    rows = await insert(peer, job(), job("output", "kept"))
    for row in rows:
        ended = await reaches(peer, row["id"], "completed", MAINTENANCE)
        assert (ended["attempt"], ended["errors"]) == (1, [])
    assert await connection.fetchval(f"SELECT last_value FROM {refusals}") > 2


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[Proxy]:
    async with Proxy(dsn) as running:
        yield running


@scenario("TestChaos/DatabaseUnavailable", EACH)
async def test_database_unavailable(
    proxy: Proxy, peers: list[Peer], spawn: Spawn, connection: Connection, river: Schema
) -> None:
    (outside,) = peers
    inside = await spawn(outside.name, proxy.dsn)
    await inside.call("start", client_id="inside")
    (held,) = await insert(outside, job("barrier_wait", "gate"))
    await reaches(outside, held["id"], "running")

    async def cut_off() -> bool:
        return await connections(connection, inside.application) == 0

    async def three_tries() -> bool:
        return proxy.refused >= 3

    proxy.go_down()
    await until(cut_off)  # a claim that it has sent may still be at work, and would take what is inserted next
    (waiting,) = await insert(outside, job())
    await inside.call("release", name="gate")
    await until(three_tries, MAINTENANCE)
    assert (await get(outside, held["id"]))["state"] == "running"
    proxy.come_back()
    for row in (held, waiting):
        ended = await reaches(outside, row["id"], "completed", MAINTENANCE)
        assert (ended["attempt"], ended["attempted_by"], ended["errors"]) == (1, ["inside"], [])
    assert await inside.close() == 0


_FOREIGN = [
    '{"at": "yesterday", "attempt": "1", "error": {"code": [1, 2]}, "trace": null}',
    '{"at": "2026-01-02 03:04:05+00", "attempt": 3, "error": "a time as Postgres writes it", "trace": ["frame"]}',
    "42",
    '"text"',
    '{"at": "2026-01-02T03:04:05Z", "attempt": 2, "error": "plain", "trace": "t", "more": true}',
]
_READ = [
    {"at": "0001-01-01T00:00:00Z", "attempt": 1, "error": '{"code":[1,2]}', "trace": ""},
    {"at": "0001-01-01T00:00:00Z", "attempt": 3, "error": "a time as Postgres writes it", "trace": '["frame"]'},
    {"at": "0001-01-01T00:00:00Z", "attempt": 0, "error": "42", "trace": ""},
    {"at": "0001-01-01T00:00:00Z", "attempt": 0, "error": "text", "trace": ""},
    {"at": "2026-01-02T03:04:05Z", "attempt": 2, "error": "plain", "trace": "t"},
]


@scenario("TestChaos/DecodeIsolation", EACH)
async def test_decode_isolation(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    table = river.table("river_job")
    due = "2031-01-01T00:00:00Z"
    rows = await insert(peer, *(job("", name, scheduled_at=due) for name in ("foreign errors", "array", "sound", "sound too")))
    foreign, array, *sound = rows
    await connection.execute(f"UPDATE {table} SET errors = $2::text[]::jsonb[] WHERE id = $1", foreign["id"], _FOREIGN)
    await connection.execute(f"UPDATE {table} SET metadata = '[1, 2]' WHERE id = $1", array["id"])
    assert (await get(peer, foreign["id"]))["errors"] == _READ
    await connection.execute(f"UPDATE {table} SET state = 'available', scheduled_at = now()")
    await peer.call("start", error_handler_cancel=True)
    for row in (foreign, *sound):
        assert (await reaches(peer, row["id"], "completed"))["attempt"] == 1
    assert (await get(peer, foreign["id"]))["errors"] == _READ
    failed = await _worked_or_refused(connection, river, array["id"], "cancelled")
    assert (await peer.call("stats"))["error_handler_calls"] == failed
    await peer.call("stop")
    rows = await insert(peer, job("", "array", scheduled_at=due), job("", "array", scheduled_at=due, max_attempts=1))
    await connection.execute(
        f"UPDATE {table} SET metadata = '[1, 2]', state = 'available', scheduled_at = now() WHERE id = ANY($1)",
        [row["id"] for row in rows],
    )
    await peer.call("start", retry_delay_ms=3_600_000)
    for row, state in zip(rows, ("retryable", "discarded"), strict=True):
        await _worked_or_refused(connection, river, row["id"], state)


async def _worked_or_refused(connection: Connection, river: Schema, job_id: int, refused: str) -> bool:
    """A job whose metadata are an array is worked, or fails in this state; its metadata stay as they are either way."""

    async def over() -> dict[str, Any] | None:
        found = await raw_row(connection, river, job_id)
        return found if found["state"] in ("completed", refused) else None

    ended = await until(over)
    failed: bool = ended["state"] == refused
    assert (ended["metadata"], ended["attempt"]) == ([1, 2], 1)
    assert [e["error"].partition(":")[0] for e in ended["errors"] or ()] == ["job row couldn't be decoded"] * failed
    return failed


@scenario("TestChaos/LeaderDeath", BOTH_WAYS)
async def test_leader_death(peers: list[Peer], connection: Connection, river: Schema) -> None:
    """Periodic jobs, which only a leader inserts, tell who led: one client in each term."""
    dying, living = peers
    periodic = f"SELECT count(*) FROM {river.table('river_job')} WHERE metadata ? 'river:periodic_job_id'"

    async def leads(name: str) -> bool:
        found = await leader(connection, river)
        return found is not None and found[0] == name

    async def inserts(peer: Peer, rows: int) -> bool:
        started = (await peer.call("stats"))["periodic_starts"] == 1
        return started and await connection.fetchval(periodic) == rows

    await dying.call("start", client_id="dying", periodic_run_on_start=True)
    await until(lambda: leads("dying"), LEADERSHIP)
    await until(lambda: inserts(dying, 1), MAINTENANCE)
    await living.call("start", client_id="living", periodic_run_on_start=True)
    (row,) = await insert(living, job())
    await reaches(living, row["id"], "completed")
    assert (await living.call("stats"))["periodic_starts"] == 0
    await dying.kill()
    # It cannot resign: its term is ended here, as if it had run out.
    await connection.execute(f"UPDATE {river.table('river_leader')} SET expires_at = now() - interval '1 second'")
    (due,) = await insert(living, job("", "scheduled", scheduled_at="2020-01-01T00:00:00Z"))
    await until(lambda: leads("living"), LEADERSHIP)
    await until(lambda: inserts(living, 2), MAINTENANCE)
    await reaches(living, due["id"], "completed", MAINTENANCE)
    assert await leads("living")
    assert await connection.fetchval(periodic) == 2


@pytest.mark.parametrize("within", [MAINTENANCE, pytest.param(10.0, marks=pytest.mark.long)], ids=["45 s", "10 s"])
@scenario("TestChaos/ListenerReconnect", BOTH_WAYS)
async def test_listener_reconnect(peers: list[Peer], connection: Connection, within: float) -> None:
    """The connection that it listens on is lost, then all that it has."""
    inserting, working = peers
    await working.call("start", fetch_poll_interval_ms=_NEVER, leader_election_disabled=True)
    all_of_them = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    for sql in (f"{all_of_them} AND query ILIKE 'listen %'", all_of_them):
        # Not looked for first: River asks its quiet connection for a sign of life, and then that is its last statement.
        killed = {row["pid"] for row in await connection.fetch(sql, working.application)}
        assert killed

        async def again(killed: set[int] = killed) -> bool:
            return await listener(connection, working.application) not in {None, *killed}

        await until(again, within)
        await asyncio.sleep(1)
        (row,) = await insert(inserting, job())
        await reaches(inserting, row["id"], "completed")


@scenario("TestChaos/LostNotification", EACH)
async def test_lost_notification(peers: list[Peer], connection: Connection, river: Schema) -> None:
    (peer,) = peers
    await peer.call("start", fetch_poll_interval_ms=500, leader_election_disabled=True)
    await asyncio.sleep(1)
    job_id = await connection.fetchval(
        f"INSERT INTO {river.table('river_job')} (kind, args) "
        """VALUES ('conformance_echo', '{"behavior": "output"}') RETURNING id"""
    )
    await reaches(peer, job_id, "completed")


async def _rescued_once(reading: Peer, job_id: int, clients: list[str]) -> None:
    """A job that was running in the first of these clients when that was killed was rescued, and ran in the second."""
    ended = await reaches(reading, job_id, "completed", 2 * MAINTENANCE)
    assert (ended["attempt"], ended["attempted_by"]) == (2, clients)
    assert [(e["attempt"], e["error"]) for e in ended["errors"]] == [(1, _RESCUED)]
    assert ended["metadata"] == {"river:rescue_count": 1}


@pytest.mark.long
@scenario("TestChaos/ProcessKillRescue", BOTH_WAYS)
async def test_process_kill_rescue(peers: list[Peer]) -> None:
    dying, living = peers
    await dying.call("start", client_id="dying", leader_election_disabled=True)
    (row,) = await insert(living, job("barrier_wait", "gate"))
    await reaches(living, row["id"], "running")
    await dying.kill()
    await living.call("release", name="gate")
    await living.call("start", client_id="living", **RESCUE)
    await _rescued_once(living, row["id"], ["dying", "living"])


@pytest.mark.long
@scenario("TestChaos/ProcessKillRestart", EACH)
async def test_process_kill_restart(peers: list[Peer], spawn: Spawn) -> None:
    (dying,) = peers
    await dying.call("start", client_id="before")
    (row,) = await insert(dying, job("barrier_wait", "gate"))
    await reaches(dying, row["id"], "running")
    await dying.kill()
    restarted = await spawn(dying.name)
    await restarted.call("release", name="gate")
    await restarted.call("start", client_id="after", **RESCUE)
    await _rescued_once(restarted, row["id"], ["before", "after"])


@scenario("TestChaos/RollingDeployment", EACH)
async def test_rolling_deployment(peers: list[Peer], connection: Connection, river: Schema, spawn: Spawn) -> None:
    (old,) = peers
    count, fleet = 100, [old, await spawn("go"), await spawn("python")]
    for number, peer in enumerate(fleet):
        await peer.call("start", client_id=f"old {number}")
    for number, peer in enumerate(fleet):
        await insert(peer, *(job("sleep", f"job {number} {n}", 50) for n in range(count // 4)))
        await peer.call("stop")
        successor = await spawn(peer.name)
        await successor.call("start", client_id=f"new {number}")
    await insert(old, *(job("sleep", f"last {n}", 50) for n in range(count - 3 * (count // 4))))

    async def done() -> list[dict[str, Any]]:
        rows = await raw_rows(connection, river)
        return rows if all(row["state"] == "completed" for row in rows) else []

    rows = await until(done, MAINTENANCE)
    assert len(rows) == count
    assert {(row["attempt"], len(row["attempted_by"])) for row in rows} == {(1, 1)}
