"""``rivermill bench``: how fast this computer and this database work jobs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rivermill.bench.board import Board, Figures, table
from rivermill.bench.modes import MODES, Load
from rivermill.bench.place import DEFAULT_NAME, new_place
from rivermill.cli_types import positive
from rivermill.command_line import add_command, number
from rivermill.config import load_settings
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError

_JOBS = {"burn-down": 100_000, "many-queues": 100_000, "insert": 100_000, "latency": 500, "mixed": 5_000, "continuous": 0}
_RATES = {"mixed": 500.0}


def add_bench_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``bench``."""
    parser = add_command(
        commands,
        "bench",
        "measure how fast jobs are inserted and worked here",
        parents=[shared],
        description="Measure in a schema of its own (--schema, default rivermill_bench), which is made and dropped again.",
    )
    parser.add_argument("mode", nargs="?", choices=list(MODES), help="default: burn-down with -n, else continuous")
    parser.add_argument("-n", "--jobs", type=positive, metavar="N", help="how many jobs")
    parser.add_argument(
        "--duration", metavar="DURATION", help="how long continuous mode runs, e.g. 30s (default: until interrupted)"
    )
    parser.add_argument("--slots", type=positive, default=2_000, metavar="N", help="jobs at once (default: %(default)s)")
    parser.add_argument(
        "--queues", type=positive, default=100, metavar="N", help="how many in many-queues mode (default: %(default)s)"
    )
    parser.add_argument("--rate", type=number, metavar="N", help="inserts a second (default: latency 100, mixed 500)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and nothing else")
    parser.set_defaults(run=bench)


async def bench(options: argparse.Namespace) -> int:
    """Run one benchmark and print its figures.

    Raises:
        RivermillError: a setting is wrong, the schema exists, or the database cannot be reached.
    """
    mode = options.mode or ("burn-down" if options.jobs else "continuous")
    if options.rate is not None and not options.rate > 0:
        raise ConfigError(f"--rate {options.rate}: use a number of inserts a second, more than 0")
    load = Load(
        jobs=options.jobs or _JOBS[mode],
        seconds=parse_duration("--duration", options.duration).total_seconds() if options.duration else None,
        slots=options.slots,
        queues=options.queues,
        rate=options.rate or _RATES.get(mode, 100.0),
    )
    settings = load_settings(dsn=options.dsn, schema=options.schema or DEFAULT_NAME, file=options.config)
    async with new_place(settings.dsn, settings.schema.name) as place:
        figures = await MODES[mode](place, load, Board(None if options.json else sys.stdout))
    _print({"mode": mode, **figures}, as_json=options.json)
    return 0


def _print(figures: Figures, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    lines = table(figures)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {value:>14}")
