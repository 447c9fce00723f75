"""The storage of ``river_job`` changed on a real table, while its jobs are there."""

from __future__ import annotations

import os
import subprocess
import sys

import asyncpg
import pytest

from rivermill import Client, JobListParams
from rivermill.db import Connection
from rivermill.errors import MigrationError
from rivermill.migrations.storage import GIN_INDEXES, TUNED, Storage
from rivermill.schema import Schema

COMPLETE = dict.fromkeys(GIN_INDEXES, True)


@pytest.fixture
def storage(connection: Connection, schema: Schema) -> Storage:
    return Storage(connection, schema)


async def _definitions(connection: Connection, schema: Schema) -> dict[str, str]:
    rows = await connection.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = $1", schema.name)
    return {row["indexname"]: row["indexdef"] for row in rows}


async def test_indexes_are_dropped_and_made_again_as_river_makes_them(
    connection: Connection, schema: Schema, storage: Storage
) -> None:
    rivers = await _definitions(connection, schema)
    assert (await storage.state()).indexes == COMPLETE
    would = await storage.change(gin_indexes=False, dry_run=True)
    assert await _definitions(connection, schema) == rivers
    done = await storage.change(gin_indexes=False)
    assert [change.statement for change in done] == [change.statement for change in would]
    assert rivers.keys() - (await _definitions(connection, schema)).keys() == GIN_INDEXES.keys()
    assert await storage.change(gin_indexes=False) == []
    assert len(await storage.change(gin_indexes=True)) == len(GIN_INDEXES)
    assert await _definitions(connection, schema) == rivers


async def test_searches_need_no_index(dsn: str, schema: Schema, connection: Connection, storage: Storage) -> None:
    await storage.change(gin_indexes=False)
    rows = [("a", "{}", '{"x": 1}'), ("b", "{}", "{}")]
    await connection.executemany(f"INSERT INTO {schema.table('river_job')} (kind, args, metadata) VALUES ($1, $2, $3)", rows)
    async with Client(dsn, schema=schema) as client:
        page = await client.job_list(JobListParams(metadata={"x": 1}))
    assert [job.kind for job in page.jobs] == ["a"]


async def test_an_index_whose_building_was_broken_off_is_made_anew(
    dsn: str, connection: Connection, schema: Schema, storage: Storage
) -> None:
    await storage.change(gin_indexes=False)
    writer = await asyncpg.connect(dsn)
    try:
        async with writer.transaction():
            await writer.execute(f"INSERT INTO {schema.table('river_job')} (kind, args) VALUES ('a', '{{}}')")
            await connection.execute("SET statement_timeout = '2s'")  # building waits for the writer to end
            with pytest.raises(MigrationError, match=r"CREATE INDEX CONCURRENTLY \"river_job_args_index\".*failed"):
                await storage.change(gin_indexes=True)
    finally:
        await writer.close()
    await connection.execute("RESET statement_timeout")
    assert (await storage.state()).indexes == {"river_job_args_index": False}
    statements = [change.statement.split()[0] for change in await storage.change(gin_indexes=True)]
    assert statements == ["DROP", "CREATE", "CREATE"]
    assert (await storage.state()).indexes == COMPLETE


async def test_parameters_are_set_and_taken_back_beside_those_of_others(
    connection: Connection, schema: Schema, storage: Storage
) -> None:
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} SET (toast_tuple_target = 4080)")
    theirs = {"toast_tuple_target": "4080"}
    assert len(await storage.change(tuned=True)) == 1
    assert (await storage.state()).parameters == theirs | dict(TUNED)
    assert await storage.change(tuned=True) == []
    assert len(await storage.change(tuned=False)) == 1
    assert (await storage.state()).parameters == theirs


async def test_without_the_table(connection: Connection, empty_schema: Schema) -> None:
    with pytest.raises(MigrationError, match="run `rivermill migrate up` first"):
        await Storage(connection, empty_schema).change(tuned=True)


async def test_command_line(dsn: str, schema: Schema) -> None:
    def storage(*arguments: str) -> tuple[int, list[str]]:
        env = os.environ | {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema.name}
        command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "migrate", "storage", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout.splitlines()

    as_made = [f"{name}: there" for name in GIN_INDEXES]
    assert storage() == (0, as_made)
    code, lines = storage("--tune", "--drop-gin-indexes", "--dry-run")
    assert (code, [line.endswith("[DRY RUN]") for line in lines]) == (0, [True, True, True, False, False])
    code, lines = storage("--tune", "--drop-gin-indexes")
    assert (code, lines[-2:]) == (0, [f"{name}: dropped" for name in GIN_INDEXES])
    assert lines[3:-2] == [f"river_job: {name} = {value}" for name, value in sorted(TUNED.items())]
    code, lines = storage("--reset", "--make-gin-indexes")
    assert (code, lines[3:]) == (0, as_made)
    assert storage("--tune", "--reset")[0] == 2
