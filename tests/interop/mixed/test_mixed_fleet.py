"""Clients of River for Go and ours share all work of a schema while those of them that lead are killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rivermill.db import Connection
from rivermill.migrations import LINES, Migrator
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.mixed.fleet import PERIOD_MS, Fleet, cancel_running
from tests.interop.mixed.runs import faults, read_runs, twice_at_once
from tests.interop.mixed.workload import case_of, metadata_of, period_of
from tests.interop.scenarios.support import until

_END_SECONDS = 120.0


@pytest.fixture
async def fleet(
    request: pytest.FixtureRequest, spawn: Spawn, dsn: str, connection: Connection, river: Schema, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """Two clients of each implementation, on River's tables and those of more lines if the test asks for them."""
    for line in getattr(request, "param", ()):
        await Migrator(connection, river, line).up()
    runs = tmp_path / "runs"
    runs.mkdir()
    fleet = Fleet(spawn, connection, river, runs)
    cancelling = await asyncpg.connect(dsn)
    for name in ("python", "go", "python", "go"):
        await fleet.add(name)
    task = asyncio.create_task(cancel_running(fleet, cancelling, river))
    yield fleet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cancelling.close()


async def _kill_leaders(fleet: Fleet, names: list[str], jobs: int) -> None:
    """Insert so many jobs, and kill a leader of each implementation named; each is replaced."""
    half = jobs // len(names) // 2
    for name in names:
        await fleet.insert(half)
        leading = await fleet.lead(name)
        inserting = asyncio.create_task(fleet.insert(half))
        await fleet.kill(leading)
        await inserting
        await fleet.add(name)
        await fleet.led()


async def _ended(connection: Connection, river: Schema) -> list[dict[str, Any]]:
    """Every row there is now, once all of them have ended; the leader goes on to insert periodic jobs."""
    table = river.table("river_job")
    last = await connection.fetchval(f"SELECT max(id) FROM {table}")

    async def over() -> bool:
        return not await connection.fetchval(f"SELECT count(*) FROM {table} WHERE finalized_at IS NULL AND id <= $1", last)

    await until(over, _END_SECONDS, 0.2)
    sql = f"SELECT id, state::text, attempt, attempted_by, scheduled_at, tags, metadata::text FROM {table} WHERE id <= $1"
    return [dict(row) for row in await connection.fetch(sql, last)]


def _check(fleet: Fleet, rows: list[dict[str, Any]], runs_folder: Path) -> None:
    runs = read_runs(runs_folder, fleet.killed)
    assert {row["id"] for row in rows if case_of(row) != "tick"} == fleet.ids, "no job is lost, and none came by itself"
    assert faults(rows, runs, fleet.killed) == []
    assert twice_at_once(runs, fleet.killed) == []
    assert [key for key, ids in fleet.unique.items() if len(ids) != 1] == []
    ticks = [period_of(row, PERIOD_MS) for row in rows if case_of(row) == "tick"]
    assert len(set(ticks)) == len(ticks), "one periodic job in a period, whoever led"
    rescued = {row["id"] for row in rows if "river:rescue_count" in metadata_of(row)}
    assert fleet.lost
    assert rescued == fleet.lost, "what killed clients ran was rescued, and nothing else"
    by_go = {client.startswith("go") for row in rows for client in row["attempted_by"] or ()}
    assert by_go == {True, False}


async def test_leaders_of_both_kinds_are_killed(fleet: Fleet, connection: Connection, river: Schema, tmp_path: Path) -> None:
    """On River's tables alone, where a dead client is known by the age of its jobs."""
    await _kill_leaders(fleet, ["python", "go"], 4_000)
    rows = await _ended(connection, river)
    await fleet.stop()
    _check(fleet, rows, tmp_path / "runs")


@pytest.mark.long
@pytest.mark.parametrize("fleet", [LINES], ids=["all tables"], indirect=True)
async def test_fifty_thousand_jobs(fleet: Fleet, connection: Connection, river: Schema, tmp_path: Path) -> None:
    """Our table tells which of our clients are dead."""
    await _kill_leaders(fleet, ["python", "go"] * 4, 50_000)
    rows = await _ended(connection, river)
    await fleet.stop()
    assert len(fleet.ids) == 50_000
    _check(fleet, rows, tmp_path / "runs")
