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
from rivermill.migrations.storage import DROPPABLE, FILLFACTORS, GIN_INDEXES, KIND_INDEX, TUNED, Storage
from rivermill.schema import Schema

COMPLETE = dict.fromkeys(DROPPABLE, True)


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
    for name, indexes in {"gin_indexes": GIN_INDEXES, "kind_index": KIND_INDEX}.items():
        would = await storage.change(**{name: False}, dry_run=True)
        assert await _definitions(connection, schema) == rivers
        done = await storage.change(**{name: False})
        assert [change.statement for change in done] == [change.statement for change in would]
        assert rivers.keys() - (await _definitions(connection, schema)).keys() == indexes.keys()
        assert await storage.change(**{name: False}) == []
        assert len(await storage.change(**{name: True})) == len(indexes)
        assert await _definitions(connection, schema) == rivers


async def test_searches_need_no_index(dsn: str, schema: Schema, connection: Connection, storage: Storage) -> None:
    await storage.change(gin_indexes=False, kind_index=False)
    rows = [("a", "{}", '{"x": 1}'), ("b", "{}", "{}")]
    await connection.executemany(f"INSERT INTO {schema.table('river_job')} (kind, args, metadata) VALUES ($1, $2, $3)", rows)
    async with Client(dsn, schema=schema) as client:
        pages = [await client.job_list(params) for params in (JobListParams(metadata={"x": 1}), JobListParams(kinds=["a"]))]
    assert [[job.kind for job in page.jobs] for page in pages] == [["a"], ["a"]]


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
    assert (await storage.state()).indexes == {"river_job_args_index": False, **dict.fromkeys(KIND_INDEX, True)}
    statements = [change.statement.split()[0] for change in await storage.change(gin_indexes=True)]
    assert statements == ["DROP", "CREATE", "CREATE"]
    assert (await storage.state()).indexes == COMPLETE


async def test_parameters_are_set_and_taken_back_beside_those_of_others(
    connection: Connection, schema: Schema, storage: Storage
) -> None:
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} SET (toast_tuple_target = 4080)")
    theirs = {"toast_tuple_target": "4080"}
    before = await _definitions(connection, schema)
    assert len(await storage.change(tuned=True)) == 1 + len(FILLFACTORS)
    state = await storage.state()
    assert (state.parameters, state.fillfactors) == (theirs | dict(TUNED), FILLFACTORS)
    assert await storage.change(tuned=True) == []
    await connection.execute(f"REINDEX INDEX CONCURRENTLY {schema.table('river_job_kind')}")  # as River's reindexer does
    assert await storage.change(tuned=True) == []
    assert len(await storage.change(tuned=False)) == 1 + len(FILLFACTORS)
    assert (await storage.state()).parameters == theirs
    assert await _definitions(connection, schema) == before


async def test_without_the_table(connection: Connection, empty_schema: Schema) -> None:
    with pytest.raises(MigrationError, match="run `rivermill migrate up` first"):
        await Storage(connection, empty_schema).change(tuned=True)


async def test_command_line(dsn: str, schema: Schema) -> None:
    def storage(*arguments: str) -> tuple[int, list[str]]:
        env = os.environ | {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema.name}
        command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "migrate", "storage", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout.splitlines()

    as_made = [f"{name}: there" for name in DROPPABLE]
    assert storage() == (0, as_made)
    code, lines = storage("--tune", "--drop-gin-indexes", "--drop-kind-index", "--dry-run")
    assert (code, [line.endswith("[DRY RUN]") for line in lines]) == (0, [True] * 5 + [False] * 3)
    code, lines = storage("--tune", "--drop-gin-indexes", "--drop-kind-index")
    assert (code, lines[-3:]) == (0, [f"{name}: dropped" for name in DROPPABLE])
    tuned = [f"river_job: {name} = {value}" for name, value in sorted(TUNED.items())]
    assert lines[5:-3] == [*tuned, "river_job_pkey: fillfactor = 50"]
    code, lines = storage("--reset", "--make-gin-indexes", "--make-kind-index")
    assert (code, lines[5:]) == (0, as_made)
    assert storage("--tune", "--reset")[0] == 2
