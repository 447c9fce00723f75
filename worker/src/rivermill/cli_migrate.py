"""``rivermill migrate up|down|list|validate|storage``."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

import asyncpg

from rivermill.cli_types import positive
from rivermill.command_line import add_command, whole
from rivermill.config import load_settings
from rivermill.db import Connection, connect
from rivermill.errors import ConfigError, MigrationError
from rivermill.migrations import LINES, Applied, Migrator, load
from rivermill.migrations.storage import DROPPABLE, Storage
from rivermill.schema import Schema

#: A large table's indexes take long to build, and workers go on meanwhile.
_INDEX_TIMEOUT = timedelta(hours=6)
_PRESENCE = {True: "there", False: "incomplete, since its building was broken off: make or drop it", None: "dropped"}


def add_migrate_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``migrate`` and what it can do."""
    actions = add_command(commands, "migrate", "make, check or remove the tables").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    for action, text in (
        ("up", "apply what is missing"),
        ("down", "take back the newest version"),
        ("list", "show versions and which are applied"),
        ("validate", "fail when a version is missing"),
    ):
        parser = add_command(actions, action, text, parents=[shared])
        parser.add_argument("--line", choices=LINES, help=f"one line only (default: {'main' if action == 'down' else 'all'})")
        if action != "list":
            parser.add_argument(
                "--target-version", type=whole, metavar="N", help="the version to end at (down: 0 removes all); needs --line"
            )
        if action in ("up", "down"):
            parser.add_argument(
                "--max-steps", type=positive, metavar="N", help="at most this many versions of a line (down: default 1)"
            )
            parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
            parser.add_argument("--show-sql", action="store_true", help="print the statements")
        parser.set_defaults(run=migrate)
    _add_storage(actions, shared)


def _add_storage(actions: Any, shared: argparse.ArgumentParser) -> None:
    parser = add_command(actions, "storage", "show or change how river_job is stored", parents=[shared])
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--tune", dest="tuned", action="store_true", default=None, help="set what suits a busy queue")
    settings.add_argument("--reset", dest="tuned", action="store_false", default=None, help="take that back")
    for which, text in (
        ("gin-indexes", "the indexes of args and metadata, which only searches in them need"),
        ("kind-index", "the index of kinds, which only lists of a kind need"),
    ):
        indexes = parser.add_mutually_exclusive_group()
        for verb, wanted in (("drop", False), ("make", True)):
            name = which.replace("-", "_")
            indexes.add_argument(
                f"--{verb}-{which}", dest=name, action="store_const", const=wanted, default=None, help=f"{verb} {text}"
            )
    parser.add_argument("--dry-run", action="store_true", help="only print the statements")
    parser.set_defaults(run=change_storage)


async def migrate(options: argparse.Namespace) -> int:
    """Run one action over the lines asked for.

    Raises:
        RivermillError: a setting is wrong, the database cannot be reached or cannot be migrated.
    """
    if options.action != "list" and options.target_version is not None and not options.line:
        raise ConfigError(
            f"--target-version {options.target_version}: say which line it is of with --line {' or '.join(LINES)}"
        )
    settings = load_settings(dsn=options.dsn, schema=options.schema, file=options.config)
    connection = await connect(settings.dsn, application_name="rivermill migrate", statement_timeout=timedelta(minutes=10))
    try:
        if options.action != "up" and not await _is_there(connection, settings.schema):
            raise MigrationError(
                f"schema {settings.schema.name}: there is no such schema in this database; name another with --schema or "
                "RIVER_SCHEMA, or make it with `rivermill migrate up`"
            )
        if options.action in ("up", "down"):
            return await _change(connection, settings.schema, options)
        return await _show(connection, settings.schema, options)
    finally:
        await connection.close()


async def change_storage(options: argparse.Namespace) -> int:
    """Change what is asked for, then say how the table is stored.

    Raises:
        RivermillError: a setting is wrong, the database cannot be reached, or a statement failed.
    """
    settings = load_settings(dsn=options.dsn, schema=options.schema, file=options.config)
    connection = await connect(settings.dsn, application_name="rivermill migrate", statement_timeout=_INDEX_TIMEOUT)
    try:
        storage = Storage(connection, settings.schema)
        for done in await storage.change(
            tuned=options.tuned,
            gin_indexes=options.gin_indexes,
            kind_index=options.kind_index,
            dry_run=options.dry_run,
        ):
            print(f"{done.statement} {'[DRY RUN]' if options.dry_run else f'[{done.seconds * 1000:.0f} ms]'}")
        state = await storage.state()
    finally:
        await connection.close()
    for name, value in sorted(state.parameters.items()):
        print(f"river_job: {name} = {value}")
    for name, fillfactor in state.fillfactors.items():
        if fillfactor is not None:
            print(f"{name}: fillfactor = {fillfactor}")
    for name in DROPPABLE:
        print(f"{name}: {_PRESENCE[state.indexes.get(name)]}")
    return 0


async def _change(connection: Connection, schema: Schema, options: argparse.Namespace) -> int:
    limits = {"target": options.target_version, "max_steps": options.max_steps, "dry_run": options.dry_run}

    def say(done: Applied) -> None:
        _print(done, schema, dry_run=options.dry_run, show_sql=options.show_sql)

    applied: list[Applied] = []
    if options.action == "down":
        applied += await Migrator(connection, schema, options.line or "main", say).down(**limits)
    else:
        if not options.dry_run:
            await _make_schema(connection, schema)
        for line in (options.line,) if options.line else LINES:
            applied += await Migrator(connection, schema, line, say).up(**limits)
    if not applied:
        print("no migrations to apply")
    return 0


async def _is_there(connection: Connection, schema: Schema) -> bool:
    return bool(await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", f'"{schema.name}"'))


async def _make_schema(connection: Connection, schema: Schema) -> None:
    # Not by IF NOT EXISTS alone: that wants the right to make schemas also where there is nothing to make.
    if await _is_there(connection, schema):
        return
    try:
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema.name}"')
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"schema {schema.name} does not exist, and this user may not make it: let an administrator run "
            f'CREATE SCHEMA "{schema.name}" AUTHORIZATION and the user\'s name'
        ) from error


async def _show(connection: Connection, schema: Schema, options: argparse.Namespace) -> int:
    validate, missing = options.action == "validate", 0
    for line in (options.line,) if options.line else LINES:
        target = options.target_version if validate else None
        unapplied = await Migrator(connection, schema, line).missing(target=target)
        missing += len(unapplied)
        if validate and unapplied:
            print(f"line {line}: versions {', '.join(map(str, unapplied))} are missing; run `rivermill migrate up`")
        elif validate:
            print(f"line {line}: no version is missing up to {target or load(line)[-1].version}")
        for migration in () if validate else load(line):
            print(f"{' ' if migration.version in unapplied else '*'} {line} {migration.version:03} {migration.name}")
    return 1 if validate and missing else 0


def _print(done: Applied, schema: Schema, *, dry_run: bool, show_sql: bool) -> None:
    migration = done.migration
    what = f"migration {migration.line} {migration.version:03} [{done.direction}] {migration.name}"
    if show_sql:
        print(f"-- {migration.line} {migration.version:03} [{done.direction}]\n{migration.sql(done.direction, schema)}")
    print(f"{what} [DRY RUN]" if dry_run else f"applied {what} [{done.seconds * 1000:.0f} ms]")
