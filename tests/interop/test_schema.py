"""Our migrations make River's schema, version by version, and either migrator takes over from the other at any version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from rivermill.db import Connection
from rivermill.migrations import Migrator
from rivermill.migrations.storage import Storage
from rivermill.schema import Schema
from tests.interop.catalog import catalog
from tests.interop.peers import Peer, PeerError

NEWEST = 8
STATES = ("available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled")


@pytest.fixture
async def theirs(connection: Connection, empty_schema: Schema) -> AsyncIterator[Schema]:
    """A second empty schema, which River migrates."""
    schema = Schema(f"{empty_schema.name}_go")
    await connection.execute(f'CREATE SCHEMA "{schema.name}"')
    yield schema
    await connection.execute(f'DROP SCHEMA "{schema.name}" CASCADE')


async def test_every_version_up_and_down_is_rivers(
    connection: Connection, empty_schema: Schema, theirs: Schema, go: Peer
) -> None:
    ours = Migrator(connection, empty_schema)
    steps = [("up", version, version) for version in range(1, NEWEST + 1)]
    steps += [("down", version or -1, version) for version in range(NEWEST - 1, -1, -1)]
    steps += [("up", NEWEST, NEWEST)]
    for direction, target, version in steps:
        await go.call("migrate", schema=theirs.name, direction=direction, target_version=target)
        await (ours.up(target=target) if direction == "up" else ours.down(target=target))
        mine, river = await catalog(connection, empty_schema.name), await catalog(connection, theirs.name)
        for part in river:
            assert mine.get(part) == river[part], f"{part} after {direction} to {version}"
        assert mine.keys() == river.keys()
    assert len(mine["columns"]) > 30


@pytest.mark.parametrize("version", range(NEWEST + 1))
async def test_river_goes_on_where_ours_stopped(connection: Connection, empty_schema: Schema, go: Peer, version: int) -> None:
    ours = Migrator(connection, empty_schema)
    if version:
        await ours.up(target=version)
    missing = list(range(version + 1, NEWEST + 1))
    assert (await go.call("validate", schema=empty_schema.name))["ok"] is (not missing)
    assert (await go.call("migrate", schema=empty_schema.name))["versions"] == missing
    assert await ours.missing() == ()
    assert await ours.up() == []
    if missing:
        await ours.down(target=version or -1)
    assert (await go.call("existing_versions", schema=empty_schema.name))["versions"] == list(range(1, version + 1))


@pytest.mark.parametrize("version", range(NEWEST + 1))
async def test_ours_goes_on_where_river_stopped(connection: Connection, empty_schema: Schema, go: Peer, version: int) -> None:
    ours = Migrator(connection, empty_schema)
    if version:
        await go.call("migrate", schema=empty_schema.name, target_version=version)
    assert await ours.existing() == tuple(range(1, version + 1))
    assert [a.migration.version for a in await ours.up()] == list(range(version + 1, NEWEST + 1))
    assert (await go.call("validate", schema=empty_schema.name))["ok"] is True
    assert (await go.call("migrate", schema=empty_schema.name))["versions"] == []
    down = await go.call("migrate", schema=empty_schema.name, direction="down", target_version=-1)
    assert down["versions"] == list(range(NEWEST, 0, -1))
    assert await ours.existing() == ()


async def test_old_rows_are_filled_in_the_same_way(
    connection: Connection, empty_schema: Schema, theirs: Schema, go: Peer
) -> None:
    await Migrator(connection, empty_schema).up(target=2)
    await go.call("migrate", schema=theirs.name, target_version=2)
    rows = []
    for schema in (empty_schema, theirs):
        table = schema.table("river_job")
        await connection.execute(f"INSERT INTO {table} (kind, max_attempts, args, tags) VALUES ('a', 3, NULL, NULL)")
        await connection.execute(f"INSERT INTO {table} (kind, max_attempts, args, tags) VALUES ('b', 3, '[1]', '{{x}}')")
    await Migrator(connection, empty_schema).up()
    await go.call("migrate", schema=theirs.name)
    for schema in (empty_schema, theirs):
        columns = (
            "id, state::text, attempt, max_attempts, priority, args, kind, metadata, queue, tags, unique_key, unique_states"
        )
        rows.append(
            [tuple(r) for r in await connection.fetch(f"SELECT {columns} FROM {schema.table('river_job')} ORDER BY id")]
        )
    assert rows[0] == rows[1]
    assert rows[0][0][5] == "{}"


async def test_our_line_is_none_of_rivers_business(connection: Connection, schema: Schema, go: Peer) -> None:
    assert (await go.call("validate", schema=schema.name))["ok"] is True
    assert (await go.call("existing_versions", schema=schema.name))["versions"] == list(range(1, NEWEST + 1))
    with pytest.raises(PeerError, match=r"irreversible|other lines|non-main"):
        await go.call("migrate", schema=schema.name, direction="down", target_version=-1)


async def test_how_the_table_is_stored_is_none_of_rivers_business(
    connection: Connection, empty_schema: Schema, go: Peer
) -> None:
    await Migrator(connection, empty_schema).up()
    await Storage(connection, empty_schema).change(tuned=True, gin_indexes=False)
    assert (await go.call("validate", schema=empty_schema.name))["ok"] is True
    assert (await go.call("migrate", schema=empty_schema.name))["versions"] == []
    down = await go.call("migrate", schema=empty_schema.name, direction="down", target_version=-1)
    assert down["versions"] == list(range(NEWEST, 0, -1))


async def test_the_bitmask_function_answers_alike(
    connection: Connection, empty_schema: Schema, theirs: Schema, go: Peer
) -> None:
    await Migrator(connection, empty_schema).up()
    await go.call("migrate", schema=theirs.name)
    answers = []
    for schema in (empty_schema, theirs):
        sql = f"""
            SELECT mask, state::text, {schema.table("river_job_state_in_bitmask")}(mask::bit(8), state)
            FROM generate_series(0, 255) AS mask, unnest($1::text[]::{schema.table("river_job_state")}[]) AS state
            ORDER BY 1, 2"""
        answers.append([tuple(row) for row in await connection.fetch(sql, list(STATES))])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 256 * len(STATES)


async def test_the_old_trigger_notifies_alike(
    connection: Connection, empty_schema: Schema, theirs: Schema, go: Peer, dsn: str
) -> None:
    await Migrator(connection, empty_schema).up(target=3)
    await go.call("migrate", schema=theirs.name, target_version=3)
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(dsn)
    await listener.add_listener("river_insert", lambda *args: heard.put_nowait(args[-1]))
    payloads = []
    for schema in (empty_schema, theirs):
        values = "('a', 3, '{}', 'available', 'q'), ('b', 3, '{}', 'scheduled', 'never')"
        await connection.execute(
            f"INSERT INTO {schema.table('river_job')} (kind, max_attempts, args, state, queue) VALUES {values}"
        )
        payloads.append(await asyncio.wait_for(heard.get(), 10))
    assert payloads[0] == payloads[1]
    assert json.loads(payloads[0]) == {"queue": "q"}
    assert heard.empty()
    await listener.close()


async def test_a_mixed_case_schema_of_the_longest_name(connection: Connection, go: Peer) -> None:
    name = "Mixed_" + "x" * 40
    await connection.execute(f'CREATE SCHEMA "{name}"')
    try:
        await Migrator(connection, Schema(name)).up(target=6)
        assert (await go.call("migrate", schema=name))["versions"] == [7, 8]
        assert (await go.call("insert", schema=name, jobs=[{"behavior": ""}]))["results"][0]["job"]["id"] == 1
    finally:
        await connection.execute(f'DROP SCHEMA "{name}" CASCADE')
