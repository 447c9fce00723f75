"""``rivermill bench``: how fast this computer and this database work jobs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from rivermill.bench.board import Board, Figures, table
from rivermill.bench.ending import Ending
from rivermill.bench.modes import MODES, Load
from rivermill.bench.place import DEFAULT_NAME, new_place
from rivermill.cli_types import positive
from rivermill.command_line import add_command, number
from rivermill.config import load_settings
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError

_JOBS = {"burn-down": 100_000, "many-queues": 100_000, "insert": 100_000, "latency": 500, "mixed": 5_000, "continuous": 0}
_RATES = {"mixed": 500.0}
_SLOTS, _QUEUES = 2_000, 100
#: Options that other modes have no use for.
_ONLY_IN = {
    "jobs": [mode for mode in MODES if mode != "continuous"],
    "slots": [mode for mode in MODES if mode != "insert"],
    "queues": ["many-queues"],
    "rate": ["latency", "mixed"],
}
_ENDS = "SIGINT (Ctrl-C) and SIGTERM end it in order, with the figures so far; at a second one it only cleans up."
#: The exit code of what was told twice to end.
_INTERRUPTED = 130


def add_bench_command(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``bench``."""
    parser = add_command(
        commands,
        "bench",
        "measure how fast jobs are inserted and worked here",
        parents=[shared],
        description=f"Measure in a schema of its own, which is made and dropped again. {_ENDS}",
    )
    parser.add_argument("mode", nargs="?", choices=list(MODES), help="default: burn-down with -n, else continuous")
    how_many = "how many jobs; insert mode inserts N/20 one by one, then N in batches, then N by COPY"
    parser.add_argument("-n", "--num-total-jobs", "--jobs", dest="jobs", type=positive, metavar="N", help=how_many)
    parser.add_argument("--duration", metavar="DURATION", help="end after this time of working, e.g. 30s (default: no end)")
    parser.add_argument("--slots", type=positive, metavar="N", help=f"jobs at once (default: {_SLOTS})")
    parser.add_argument("--queues", type=positive, metavar="N", help=f"how many in many-queues mode (default: {_QUEUES})")
    parser.add_argument("--rate", type=number, metavar="N", help="inserts a second (default: latency 100, mixed 500)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and nothing else")
    parser.set_defaults(run=bench)


async def bench(options: argparse.Namespace) -> int:
    """Run one benchmark and print its figures, of what was done until then where a signal ends it.

    Returns:
        0; 1 where jobs were lost or are not in the state that they should be in.

    Raises:
        RivermillError: a setting is wrong, the schema exists, or the database cannot be reached.
    """
    mode = options.mode or ("burn-down" if options.jobs else "continuous")
    load = _load(mode, options)
    ending = Ending(parse_duration("--duration", options.duration).total_seconds() if options.duration else None)
    settings = load_settings(dsn=options.dsn, schema=options.schema or DEFAULT_NAME, file=options.config)
    with ending.by_signals():
        try:
            async with new_place(settings.dsn, settings.schema.name) as place:
                measured = await MODES[mode](place, load, Board(ending, None if options.json else sys.stdout))
        except asyncio.CancelledError:
            return _INTERRUPTED
    _print({"mode": mode, **measured.figures}, as_json=options.json)
    if measured.wrong:
        print(f"rivermill bench: {measured.wrong}", file=sys.stderr)
    return 1 if measured.wrong else 0


def _load(mode: str, options: argparse.Namespace) -> Load:
    for option, modes in _ONLY_IN.items():
        if getattr(options, option) is not None and mode not in modes:
            name = "-n" if option == "jobs" else f"--{option}"
            raise ConfigError(f"{name}: {mode} mode has none; it is for {', '.join(modes)}")
    if options.rate is not None and not 0 < options.rate < float("inf"):
        raise ConfigError(f"--rate {options.rate}: use a number of inserts a second, more than 0")
    return Load(
        jobs=options.jobs or _JOBS[mode],
        slots=options.slots or _SLOTS,
        queues=options.queues or _QUEUES,
        rate=options.rate or _RATES.get(mode, 100.0),
    )


def _print(figures: Figures, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    lines = table(figures)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {value:>14}")
