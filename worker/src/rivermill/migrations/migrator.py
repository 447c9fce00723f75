"""Reads the migrations and applies them, each in a transaction of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

import asyncpg

from rivermill.db import Connection
from rivermill.errors import MigrationError
from rivermill.schema import Schema

LINES = ("main", "rivermill")
"""Every line, in the order in which they are applied."""

_FILE = re.compile(r"(\d{3})_(\w+)\.(up|down)\.sql")
_FIRST_WITH_LINE = 5
#: Serialises migrators of one database; any fixed number does.
_LOCK_KEY = 0x52697665726D696C


class Direction(StrEnum):
    """Which way a migration goes."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of one line."""

    line: str
    version: int
    name: str
    up: str
    down: str

    def sql(self, direction: Direction, schema: Schema) -> str:
        """The statements for a schema."""
        text = self.up if direction is Direction.UP else self.down
        return text.replace("${schema}", f'"{schema.name}"')


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that was, or with a dry run would have been, applied."""

    migration: Migration
    direction: Direction
    seconds: float


@cache
def load(line: str) -> tuple[Migration, ...]:
    """Every migration of a line, oldest first.

    Raises:
        MigrationError: there is no such line.
    """
    if line not in LINES:
        raise MigrationError(f"line {line!r}: there is {' and '.join(LINES)}")
    texts: dict[tuple[int, str], dict[str, str]] = {}
    for file in resources.files(__package__).joinpath("sql", line).iterdir():
        match = _FILE.fullmatch(file.name)
        if match:
            texts.setdefault((int(match[1]), match[2]), {})[match[3]] = file.read_text(encoding="utf-8")
    return tuple(
        Migration(line, version, name, up=text["up"], down=text["down"]) for (version, name), text in sorted(texts.items())
    )


class Migrator:
    """Migrates one line of one schema over a connection of the caller's.

    Args:
        connection: not inside a transaction.
        schema: where River's tables are or shall be; the schema itself must exist.
        line: ``main`` or ``rivermill``.
        on_applied: called after each migration, so that what came before one that fails is known.
    """

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        line: str = "main",
        on_applied: Callable[[Applied], None] = lambda _: None,
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._line = line
        self._on_applied = on_applied
        self._migrations = load(line)

    async def existing(self) -> tuple[int, ...]:
        """The versions recorded, ascending; empty where ``river_migration`` does not exist."""
        if not await self._table_exists():
            return ()
        table = self._schema.table("river_migration")
        if await self._has_lines():
            rows = await self._connection.fetch(
                f"SELECT version FROM {table} WHERE line = $1 ORDER BY version",
                self._line,
            )
        elif self._line == "main":
            rows = await self._connection.fetch(f"SELECT version FROM {table} ORDER BY version")
        else:
            rows = []
        return tuple(row["version"] for row in rows)

    async def missing(self, *, target: int | None = None) -> tuple[int, ...]:
        """The versions, up to ``target``, that are known here and not recorded; River's ``Validate`` passes when none is.

        Raises:
            MigrationError: the target is not a version.
        """
        self._check_target(target, lowest=1)
        existing = set(await self.existing())
        return tuple(m.version for m in self._migrations if m.version not in existing and m.version <= (target or m.version))

    async def up(self, *, target: int | None = None, max_steps: int | None = None, dry_run: bool = False) -> list[Applied]:
        """Apply what is missing, up to and including version ``target``, at most ``max_steps`` of them.

        As in River, a target that is applied already is nothing to do.

        Raises:
            MigrationError: the target is not a version, the database has versions this release does not know, the line
                ``main`` is not far enough for this one, or a statement failed.
        """
        self._check_target(target, lowest=1)
        async with _Lock(self._connection):
            existing = await self._known_existing()
            if target in existing:
                return []
            wanted = [m for m in self._migrations if m.version not in existing and (target is None or m.version <= target)]
            if wanted and not dry_run:
                await self._check_main()
            return await self._run(wanted[:max_steps], Direction.UP, dry_run=dry_run)

    async def down(self, *, target: int | None = None, max_steps: int | None = None, dry_run: bool = False) -> list[Applied]:
        """Take back the newest version, the newest ``max_steps``, or with ``target`` all above it (0 or -1: everything).

        Raises:
            MigrationError: the target is not a version or not applied, the database has versions this release does not
                know, or a statement failed.
        """
        self._check_target(target, lowest=-1)
        floor = 0 if target is None else max(target, 0)
        steps = 1 if target is None and max_steps is None else max_steps
        async with _Lock(self._connection):
            existing = await self._known_existing()
            if floor and floor not in existing:
                raise MigrationError(f"target version {floor}: line {self._line} has not been migrated up to it")
            wanted = [m for m in reversed(self._migrations) if m.version in existing and m.version > floor]
            return await self._run(wanted[:steps], Direction.DOWN, dry_run=dry_run)

    def _check_target(self, target: int | None, *, lowest: int) -> None:
        newest = self._migrations[-1].version
        if target is not None and not lowest <= target <= newest:
            raise MigrationError(f"target version {target}: line {self._line} has versions {max(lowest, 0)} to {newest}")

    async def _check_main(self) -> None:
        if self._line != "main" and not (await self._table_exists() and await self._has_lines()):
            raise MigrationError(
                f"line {self._line} needs line main at version {_FIRST_WITH_LINE} or newer: migrate main first"
            )

    async def _known_existing(self) -> set[int]:
        existing = set(await self.existing())
        unknown = sorted(existing - {m.version for m in self._migrations})
        if unknown:
            raise MigrationError(
                f"line {self._line} of schema {self._schema.name} is at version {unknown[-1]}, "
                "which this release does not know: use a newer rivermill"
            )
        return existing

    async def _run(self, migrations: Sequence[Migration], direction: Direction, *, dry_run: bool) -> list[Applied]:
        applied = []
        for migration in migrations:
            started = time.monotonic()
            if not dry_run:
                await self._apply(migration, direction)
            applied.append(Applied(migration, direction, time.monotonic() - started))
            self._on_applied(applied[-1])
        return applied

    async def _apply(self, migration: Migration, direction: Direction) -> None:
        # A transaction each: the enum value that version 4 adds must be committed before version 6 uses it.
        try:
            async with self._connection.transaction():
                await self._connection.execute(migration.sql(direction, self._schema))
                await self._record(migration, direction)
        except asyncpg.PostgresError as error:
            raise MigrationError(f"migration {migration.line} {migration.version:03} [{direction}] failed: {error}") from error

    async def _record(self, migration: Migration, direction: Direction) -> None:
        if not await self._table_exists():  # version 1 has just been taken back
            return
        table = self._schema.table("river_migration")
        columns, key = ("line, version", "line = $1 AND version = $2"), ("version", "version = $1")
        with_line = await self._has_lines()
        names, where = columns if with_line else key
        values: tuple[object, ...] = (migration.line, migration.version) if with_line else (migration.version,)
        if direction is Direction.UP:
            marks = "$1, $2" if with_line else "$1"
            await self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *values)
        else:
            await self._connection.execute(f"DELETE FROM {table} WHERE {where}", *values)

    async def _table_exists(self) -> bool:
        name = self._schema.table("river_migration")
        return bool(await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name))

    async def _has_lines(self) -> bool:
        return bool(
            await self._connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM information_schema.columns "
                "WHERE table_schema = $1 AND table_name = 'river_migration' AND column_name = 'line')",
                self._schema.name,
            )
        )


class _Lock:
    """A session-level advisory lock: each migration commits on its own, so a transaction-level one would not do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        await self._connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)

    async def __aexit__(self, *_: object) -> None:
        if not self._connection.is_closed():
            await self._connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)
