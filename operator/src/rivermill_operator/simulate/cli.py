"""``rivermill-operator simulate``: run, print, draw, check."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rivermill_operator.command_line import number, whole
from rivermill_operator.simulate import bars, catalog, plots, trace
from rivermill_operator.simulate.matrix import POLICIES, Run, run_all
from rivermill_operator.simulate.options import (
    OptionError,
    check_places,
    check_seeds,
    check_workloads,
    fleet,
    hours,
    refuse_what_goes_unused,
)
from rivermill_operator.simulate.table import COLUMNS_HELP, report, table
from rivermill_operator.simulate.workload import Workload

#: URL, schema, hours → the jobs that ended, with the fields of ``trace.Past``.
ReadHistory = Callable[[str, str, float], Sequence[Mapping[str, Any]]]

_INTERRUPTED = 130
#: Columns and lines of what is no terminal, where nothing is broken into several tables.
_NO_TERMINAL = (10_000, 24)
_DESCRIPTION = """\
Runs the operator's own decisions over jobs, beside models of KEDA 2.21 (tuned
and as it comes) and of the plain HPA. Needs no cluster.
"""
_KNOWN = (*catalog.NAMES, bars.NOISE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = _DESCRIPTION, COLUMNS_HELP
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"reference workloads, each with its own goal and slots: {', '.join(_KNOWN)} (default all)",
    )
    parser.add_argument("--seeds", type=whole, default=1, metavar="N", help="runs of each workload (default 1)")
    parser.add_argument(
        "--pods",
        choices=tuple(catalog.POD_STARTS),
        default="warm",
        help="how pods start: in 5 to 12 s (warm, the default), in 45 to 90 s (nodes must be added), or as warm but 2 %% never",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there; missing folders are made")
    parser.add_argument(
        "--plots", type=Path, metavar="DIRECTORY", help="draw seed 1 there, as PNG and index.html; missing folders are made"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a seed of a reference workload misses a bar, and say which"
    )
    own = parser.add_argument_group("your own jobs instead of the reference workloads")
    own.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="CSV whose first line names its columns: due, seconds (that the job ran), and optionally queue, priority, known "
        "(when it was inserted); due and known are seconds, or times such as 2026-01-31T12:00:00Z, which are in UTC where "
        "they have no zone",
    )
    own.add_argument(
        "--from-database",
        nargs="?",
        const="",
        metavar="URL",
        help="jobs that became due and ended in the last hours in a River schema (default $DATABASE_URL)",
    )
    own.add_argument("--schema", metavar="NAME", help="of River's tables, with --from-database (default public)")
    own.add_argument("--hours", type=number, metavar="N", help="how far back to look, with --from-database (default 24)")
    own.add_argument(
        "--goal",
        action="append",
        metavar="[QUEUE=]SECONDS",
        help="targetWaitSeconds of one queue, or of all others; again for each queue (default 30)",
    )
    own.add_argument("--slots", type=whole, metavar="N", help="jobs that a pod runs at a time (default 10)")
    own.add_argument("--max-replicas", type=whole, metavar="N", help="the most pods (default 100)")


def run(options: argparse.Namespace, read_history: ReadHistory) -> int:
    """Run the command; 0 is success, 1 a missed bar or a file not written, 2 a wrong command line, 130 an interrupt."""
    try:
        sources = _sources(options, read_history)
        plots.check_installed(options.plots)
        check_places(options)
    except (trace.TraceError, plots.PlotsError, OptionError) as error:
        sys.stderr.write(f"rivermill-operator simulate: {error}; see rivermill-operator simulate --help\n")
        return 2
    try:
        runs = run_all(sources, options.seeds, options.pods, tuple(POLICIES), _progress, keep_samples=options.plots is not None)
    except KeyboardInterrupt:
        sys.stderr.write("\nrivermill-operator simulate: interrupted\n")
        return _INTERRUPTED
    sys.stdout.write(table(runs, shutil.get_terminal_size(_NO_TERMINAL).columns) + "\n")
    # The bars are set for the reference workloads: of a user's few jobs they would say nothing.
    failures = bars.check(runs) if all(isinstance(source, str) for source in sources) else []
    try:
        _write(options, runs, report(runs, failures))
    except OSError as error:
        sys.stderr.write(f"rivermill-operator simulate: {error.filename}: {error.strerror}\n")
        return 1
    if options.check:
        sys.stdout.write("".join(f"missed: {failure}\n" for failure in failures))
    return 1 if options.check and failures else 0


def _write(options: argparse.Namespace, runs: Sequence[Run], figures: Mapping[str, Any]) -> None:
    """The files that were asked for, and where they are; raises OSError."""
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        sys.stderr.write(f"figures: {options.json}\n")
    if options.plots:
        plots.draw(runs, options.plots)
        sys.stderr.write(f"plots: {options.plots / 'index.html'}\n")


def _sources(options: argparse.Namespace, read_history: ReadHistory) -> Sequence[str | Workload]:
    """Names of reference workloads, or the user's own."""
    check_seeds(options)
    check_workloads(options.workloads, _KNOWN)
    refuse_what_goes_unused(options)
    if options.trace is not None:
        return [_own(options, options.trace.stem, str(options.trace), trace.read_csv(options.trace))]
    if options.from_database is not None:
        return [_history(options, read_history)]
    return options.workloads or _KNOWN


def _history(options: argparse.Namespace, read_history: ReadHistory) -> Workload:
    url = options.from_database or os.environ.get("DATABASE_URL")
    if not url:
        raise OptionError("--from-database: give the URL, or set DATABASE_URL")
    schema, back = options.schema or "public", hours(options)
    jobs = [trace.Past(**job) for job in read_history(url, schema, back)]
    if not jobs:
        raise OptionError(
            f"--from-database: in schema {schema!r} no job became due and ended in the last {back:g} hours; look further back "
            "with --hours, or at another schema with --schema (River removes completed jobs after a day)"
        )
    return _own(options, f"schema {schema}", f"--from-database: schema {schema!r}", jobs)


def _own(options: argparse.Namespace, name: str, source: str, jobs: Sequence[trace.Past]) -> Workload:
    return trace.build(name, source, jobs, fleet(options), catalog.POD_STARTS[options.pods])


def _progress(done: int, total: int, last: Run | None) -> None:
    """One line that is written over; where that cannot be, a line for each tenth."""
    if sys.stderr.isatty():
        name = f" {last.workload} seed {last.seed}" if last else ""
        sys.stderr.write(f"\r{done}/{total}{name}".ljust(60) + ("\n" if done == total else ""))
    elif done * 10 // total > (done - 1) * 10 // total:
        sys.stderr.write(f"{done}/{total} runs\n")
    sys.stderr.flush()
