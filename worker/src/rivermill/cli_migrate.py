"""``rivermill migrate up|down|list|validate``."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from rivermill.config import load_settings
from rivermill.db import connect
from rivermill.migrations import LINES, Applied, Migrator, load
from rivermill.schema import Schema


def add_migrate_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``migrate`` and what it can do."""
    actions = commands.add_parser("migrate", help="make, check or remove the tables").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    for action, text in (
        ("up", "apply what is missing"),
        ("down", "take back the newest version"),
        ("list", "show versions and which are applied"),
        ("validate", "fail when a version is missing"),
    ):
        parser = actions.add_parser(action, parents=[shared], help=text)
        parser.add_argument("--line", choices=LINES, help="one line only (default: all; down: rivermill, then main)")
        if action in ("up", "down"):
            parser.add_argument("--target-version", type=int, help="the version to end at; needs --line")
            parser.add_argument("--max-steps", type=int, help="at most this many versions of a line")
            parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
            parser.add_argument("--show-sql", action="store_true", help="print the statements")
        parser.set_defaults(run=migrate)


async def migrate(options: argparse.Namespace) -> int:
    """Run one action over the lines asked for.

    Raises:
        RivermillError: a setting is wrong, the database cannot be reached or cannot be migrated.
    """
    settings = load_settings(dsn=options.dsn, schema=options.schema, file=options.config)
    schema = settings.schema
    lines = (options.line,) if options.line else LINES
    connection = await connect(settings.dsn, application_name="rivermill migrate", statement_timeout=timedelta(minutes=10))
    try:
        if options.action in ("list", "validate"):
            return await _show(connection, schema, lines, validate=options.action == "validate")
        if options.action == "up":
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema.name}"')
        applied: list[Applied] = []
        for line in lines if options.action == "up" else reversed(lines):
            migrator = Migrator(connection, schema, line)
            if options.action == "up":
                applied += await migrator.up(
                    target=options.target_version, max_steps=options.max_steps, dry_run=options.dry_run
                )
            else:
                applied += await migrator.down(
                    target=options.target_version, max_steps=options.max_steps or 1, dry_run=options.dry_run
                )
        _print(applied, schema, dry_run=options.dry_run, show_sql=options.show_sql)
    finally:
        await connection.close()
    return 0


async def _show(connection: Any, schema: Schema, lines: tuple[str, ...], *, validate: bool) -> int:
    missing = 0
    for line in lines:
        unapplied = await Migrator(connection, schema, line).missing()
        missing += len(unapplied)
        for migration in load(line):
            if validate:
                continue
            mark = " " if migration.version in unapplied else "*"
            print(f"{mark} {line} {migration.version:03} {migration.name}")
        if validate and unapplied:
            print(f"line {line}: versions {', '.join(map(str, unapplied))} are missing; run `rivermill migrate up`")
    return 1 if validate and missing else 0


def _print(applied: list[Applied], schema: Schema, *, dry_run: bool, show_sql: bool) -> None:
    for done in applied:
        how = "DRY RUN" if dry_run else f"{done.seconds * 1000:.0f} ms"
        migration = done.migration
        if show_sql:
            print(f"-- {migration.line} {migration.version:03} [{done.direction}]\n{migration.sql(done.direction, schema)}")
        print(f"applied migration {migration.line} {migration.version:03} [{done.direction}] {migration.name} [{how}]")
    if not applied:
        print("no migrations to apply")
