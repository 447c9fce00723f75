"""The schema is River's, version by version."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rivermill.db import Connection
from rivermill.errors import MigrationError
from rivermill.migrations import Direction, Migrator
from rivermill.schema import Schema

JOB_COLUMNS = [
    "id", "state", "attempt", "max_attempts", "attempted_at", "created_at", "finalized_at", "scheduled_at", "priority",
    "args", "attempted_by", "errors", "kind", "metadata", "queue", "tags", "unique_key", "unique_states",
]  # fmt: skip


async def test_up_makes_rivers_table(connection: Connection, schema: Schema) -> None:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        schema.table("river_job"),
    )
    assert [row["attname"] for row in rows] == JOB_COLUMNS
    indexes = await connection.fetch("SELECT indexname FROM pg_indexes WHERE schemaname = $1", schema.name)
    assert {row["indexname"] for row in indexes} >= {
        "river_job_pkey", "river_job_kind", "river_job_state_and_finalized_at_index", "river_job_metadata_index",
        "river_job_prioritized_fetching_index", "river_job_args_index", "river_job_unique_idx",
    }  # fmt: skip
    states = await connection.fetchval(f"SELECT enum_range(NULL::{schema.table('river_job_state')})::text[]")
    assert states == ["available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled"]
    persistence = await connection.fetchval(
        "SELECT relpersistence FROM pg_class WHERE oid = $1::regclass", schema.table("river_leader")
    )
    assert persistence == b"u"


async def test_versions_are_recorded_the_way_river_reads_them(connection: Connection, schema: Schema) -> None:
    rows = await connection.fetch(f"SELECT line, version FROM {schema.table('river_migration')} ORDER BY line, version")
    assert [tuple(row) for row in rows] == [*(("main", v) for v in range(1, 9)), *(("rivermill", v) for v in range(1, 4))]


async def test_step_by_step_before_and_after_lines(connection: Connection, empty_schema: Schema) -> None:
    migrator = Migrator(connection, empty_schema)
    assert await migrator.missing() == tuple(range(1, 9))
    await migrator.up(target=4)
    columns = await connection.fetchval(
        "SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_schema = $1 AND table_name = 'river_migration'",
        empty_schema.name,
    )
    assert columns == ["id", "created_at", "version"]
    assert await migrator.existing() == (1, 2, 3, 4)
    done = await migrator.up(max_steps=1)
    assert [(a.migration.version, a.direction) for a in done] == [(5, Direction.UP)]
    assert await migrator.existing() == (1, 2, 3, 4, 5)
    await migrator.up()
    assert await migrator.missing() == ()


async def test_down_to_nothing_and_up_again(connection: Connection, schema: Schema) -> None:
    with pytest.raises(Exception, match="other lines"):
        await Migrator(connection, schema).down(target=0)
    await Migrator(connection, schema, "rivermill").down(target=0)
    await Migrator(connection, schema).down(target=0)
    left = await connection.fetchval(
        "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1", schema.name
    )
    assert left == 0
    assert len(await Migrator(connection, schema).up()) == 8


async def test_dry_run_changes_nothing(connection: Connection, empty_schema: Schema) -> None:
    assert len(await Migrator(connection, empty_schema).up(dry_run=True)) == 8
    assert await Migrator(connection, empty_schema).existing() == ()


async def test_unknown_version_is_refused(connection: Connection, schema: Schema) -> None:
    await connection.execute(f"INSERT INTO {schema.table('river_migration')} (line, version) VALUES ('main', 99)")
    with pytest.raises(MigrationError, match=r"version 99.*newer rivermill"):
        await Migrator(connection, schema).up()
    with pytest.raises(MigrationError, match="target version 9"):
        await Migrator(connection, schema).up(target=9)


async def test_mixed_case_schema(connection: Connection) -> None:
    schema = Schema("MixedCase")
    await connection.execute('CREATE SCHEMA "MixedCase"')
    try:
        for line in ("main", "rivermill"):
            await Migrator(connection, schema, line).up()
            assert await Migrator(connection, schema, line).missing() == ()
    finally:
        await connection.execute('DROP SCHEMA "MixedCase" CASCADE')


async def test_targets_are_rivers(connection: Connection, empty_schema: Schema) -> None:
    migrator = Migrator(connection, empty_schema)
    await migrator.up(target=5)
    assert await migrator.up(target=3) == []
    assert await migrator.missing(target=5) == ()
    assert await migrator.missing(target=7) == (6, 7)
    with pytest.raises(MigrationError, match=r"target version 6.*not been migrated"):
        await migrator.down(target=6)
    assert [a.migration.version for a in await migrator.down()] == [5]
    assert [a.migration.version for a in await migrator.down(max_steps=2)] == [4, 3]
    assert [a.migration.version for a in await migrator.down(target=-1)] == [2, 1]


async def test_our_line_needs_rivers_with_lines(connection: Connection, empty_schema: Schema) -> None:
    await Migrator(connection, empty_schema).up(target=4)
    with pytest.raises(MigrationError, match="main at version 5"):
        await Migrator(connection, empty_schema, "rivermill").up()


async def test_what_was_made_beforehand_is_kept(connection: Connection, empty_schema: Schema) -> None:
    migrator, table = Migrator(connection, empty_schema), empty_schema.table("river_job")
    await migrator.up(target=4)
    await connection.execute(f"ALTER TABLE {table} ADD COLUMN unique_key bytea")
    await migrator.up(target=5)
    await connection.execute(f"ALTER TABLE {table} ADD COLUMN unique_states bit(8)")
    await migrator.up()
    assert await migrator.missing() == ()


async def test_a_failed_migration_leaves_the_version_before(connection: Connection, empty_schema: Schema) -> None:
    migrator = Migrator(connection, empty_schema)
    await migrator.up(target=3)
    await connection.execute(f"CREATE TABLE {empty_schema.table('river_queue')} (name text)")
    with pytest.raises(MigrationError, match=r"migration main 004 \[up\] failed.*river_queue"):
        await migrator.up()
    assert await migrator.existing() == (1, 2, 3)


def command(dsn: str, schema: str, *arguments: str) -> tuple[int, str, str]:
    env = os.environ | {"DATABASE_URL": dsn, "RIVER_SCHEMA": schema}
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "migrate", *arguments],
        env=env, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


async def test_command_line(dsn: str, connection: Connection) -> None:
    schema = "MigratedByHand"
    exists = "SELECT count(*) FROM pg_namespace WHERE nspname = $1"
    try:
        code, out, _ = command(dsn, schema, "up", "--dry-run", "--show-sql")
        assert code == 0
        assert f'CREATE TABLE "{schema}".river_queue' in out
        assert "migration main 008 [up] job_id_autoincrement [DRY RUN]" in out
        assert "applied" not in out
        assert await connection.fetchval(exists, schema) == 0
        code, _, err = command(dsn, schema, "up", "--target-version", "3")
        assert (code, "--line main or rivermill" in err) == (2, True)
        assert command(dsn, schema, "up", "--line", "main", "--target-version", "6")[0] == 0
        validated = command(dsn, schema, "validate", "--line", "main", "--target-version", "6")
        assert validated[:2] == (0, "line main: no version is missing up to 6\n")
        code, out, _ = command(dsn, schema, "validate")
        assert (code, "line main: versions 7, 8 are missing" in out) == (1, True)
        code, out, _ = command(dsn, schema, "down", "--max-steps", "2")
        assert [line.split()[3] for line in out.splitlines()] == ["006", "005"]
        listed = command(dsn, schema, "list")[1].splitlines()
        assert ("* main 004 pending_and_more" in listed, "  main 005 migration_unique_client" in listed) == (True, True)
        assert command(dsn, schema, "up")[0] == 0
        assert command(dsn, schema, "up")[1] == "no migrations to apply\n"
        assert command(dsn, schema, "validate")[:2] == (
            0,
            "".join(f"line {line}: no version is missing up to {newest}\n" for line, newest in (("main", 8), ("rivermill", 3))),
        )
        code, _, err = command(dsn, schema, "down", "--line", "main", "--target-version", "0")
        assert (code, "migrate those lines down first" in err) == (1, True)
        assert command(dsn, schema, "down", "--max-steps", "0")[0] == 2
    finally:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


async def test_what_was_applied_before_an_error_is_said(dsn: str, connection: Connection) -> None:
    schema = "MigratedInSteps"
    try:
        code, out, err = command(dsn, schema, "up", "--max-steps", "2")
        assert (code, [line.split()[:4] for line in out.splitlines()]) == (
            1,
            [["applied", "migration", "main", "001"], ["applied", "migration", "main", "002"]],
        )
        assert "migrate main first" in err
        await connection.execute(f'CREATE TABLE "{schema}".river_queue (name text)')
        code, out, err = command(dsn, schema, "up", "--line", "main")
        assert (code, out.split()[2:4], "migration main 004 [up] failed" in err) == (1, ["main", "003"], True)
    finally:
        await connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.mark.parametrize("action", ["list", "validate", "down"])
async def test_a_schema_that_is_not_there_is_named(dsn: str, action: str) -> None:
    code, out, err = command(dsn, "Nowhere", action)
    assert (code, out) == (1, "")
    assert err.startswith("rivermill: schema Nowhere: there is no such schema in this database; name another with --schema or ")
