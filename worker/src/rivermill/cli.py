"""The ``rivermill`` command: its arguments, and how errors become one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from rivermill import __version__, event_loop
from rivermill.bench.place import DEFAULT_NAME
from rivermill.cli_admin import add_admin_commands
from rivermill.cli_bench import add_bench_command
from rivermill.cli_migrate import add_migrate_command
from rivermill.cli_work import add_work_command
from rivermill.command_line import Parser
from rivermill.db import DATABASE_ERRORS, explain
from rivermill.errors import RivermillError

_EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 asked wrongly (arguments, settings, application), 130 interrupted."

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(prog="rivermill", description="Work and manage River jobs in Postgres.", epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"rivermill {__version__}")
    shared = _shared("schema of River's tables (default: RIVER_SCHEMA or public)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_work_command(commands, shared)
    add_migrate_command(commands, shared)
    add_admin_commands(commands, shared)
    add_bench_command(
        commands, _shared(f"a schema that is not there yet (default: {DEFAULT_NAME}, whatever RIVER_SCHEMA says)")
    )
    return parser


def _shared(schema: str) -> argparse.ArgumentParser:
    """The options of every command; ``schema`` is what help says of ``--schema``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--database-url", dest="dsn", metavar="URL", help="postgresql:// URL (default: DATABASE_URL)")
    parser.add_argument("--schema", metavar="NAME", help=schema)
    parser.add_argument("--config", metavar="FILE", help="YAML file with jobs.river.* (default: RIVER_CONFIG)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 when the command could not do what was asked, 2 when it was asked wrongly.
    """
    options = build_parser().parse_args(arguments)
    command: Command = options.run
    try:
        return event_loop.run(command(options))
    except RivermillError as error:
        sys.stderr.write(f"rivermill: {error}\n")
        return 2 if isinstance(error, ValueError) else 1
    except DATABASE_ERRORS as error:
        sys.stderr.write(f"rivermill: {explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
