"""``rivermill-operator simulate``: run, print, draw, check."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rivermill_operator.simulate import bars, catalog, plots, trace
from rivermill_operator.simulate.matrix import POLICIES, Run, run_all
from rivermill_operator.simulate.table import report, table
from rivermill_operator.simulate.workload import Workload

#: URL, schema, hours → the jobs that ended, with the fields of ``trace.Past``.
ReadHistory = Callable[[str, str, float], Sequence[Mapping[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    names = [*catalog.NAMES, bars.NOISE]
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each workload (default 1)")
    parser.add_argument("--pods", choices=tuple(catalog.POD_STARTS), default="warm", help="how pods start")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw seed 1 there, as PNG and index.html")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed, and say which")
    own = parser.add_argument_group("your own jobs instead of the reference workloads")
    own.add_argument("--trace", type=Path, metavar="FILE", help="CSV with due, seconds and optionally queue, priority, known")
    own.add_argument(
        "--from-database", nargs="?", const="", metavar="URL", help="jobs that ended in a River schema (default $DATABASE_URL)"
    )
    own.add_argument("--schema", default="public", help="of River's tables (default public)")
    own.add_argument("--hours", type=float, default=24.0, help="how far back to look (default 24)")
    own.add_argument(
        "--goal",
        action="append",
        default=[],
        metavar="[QUEUE=]SECONDS",
        help="targetWaitSeconds, of one queue or all (default 30)",
    )
    own.add_argument("--slots", type=int, default=10, help="jobs that a pod runs at a time (default 10)")
    own.add_argument("--max-replicas", type=int, default=100, help="the most pods (default 100)")


def run(options: argparse.Namespace, read_history: ReadHistory) -> int:
    """Run the command; 0 is success, 1 a missed bar, 2 a wrong command line."""
    try:
        sources = _sources(options, read_history)
        plots.check_installed(options.plots)
        _make_places(options)
    except (trace.TraceError, plots.PlotsError, OSError) as error:
        sys.stderr.write(f"rivermill-operator simulate: {error}; see --help\n")
        return 2
    runs = run_all(sources, options.seeds, options.pods, tuple(POLICIES), _progress, keep_samples=options.plots is not None)
    sys.stdout.write(table(runs) + "\n")
    failures = bars.check(runs)
    if options.json:
        options.json.write_text(json.dumps(report(runs, failures), indent=1) + "\n")
    if options.plots:
        plots.draw(runs, options.plots)
    for failure in failures if options.check else ():
        sys.stdout.write(f"missed: {failure}\n")
    return 1 if options.check and failures else 0


def _make_places(options: argparse.Namespace) -> None:
    """What will be written can be, before minutes are spent on it; raises OSError."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.touch()
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)


def _sources(options: argparse.Namespace, read_history: ReadHistory) -> Sequence[str | Workload]:
    """Names of reference workloads, or the user's own."""
    if options.seeds < 1:
        raise trace.TraceError(f"--seeds {options.seeds}: at least 1")
    known = (*catalog.NAMES, bars.NOISE)
    wrong = [name for name in options.workloads if name not in known]
    if wrong:
        raise trace.TraceError(f"workload {wrong[0]!r} is not known")
    own = [options.trace is not None, options.from_database is not None, bool(options.workloads)]
    if sum(own) > 1:
        raise trace.TraceError("give one of WORKLOAD, --trace and --from-database")
    if options.trace is not None:
        return [_own(options, options.trace.stem, trace.read_csv(options.trace))]
    if options.from_database is not None:
        url = options.from_database or os.environ.get("DATABASE_URL")
        if not url:
            raise trace.TraceError("--from-database: give the URL, or set DATABASE_URL")
        return [_own(options, options.schema, [trace.Past(**job) for job in read_history(url, options.schema, options.hours)])]
    return options.workloads or known


def _own(options: argparse.Namespace, name: str, jobs: Sequence[trace.Past]) -> Workload:
    if options.slots < 1 or options.max_replicas < 1:
        raise trace.TraceError("--slots and --max-replicas: at least 1")
    goals: dict[str, float] = {}
    for text in options.goal:
        queue, _, seconds = text.rpartition("=")
        try:
            goals[queue] = float(seconds)
        except ValueError:
            goals[queue] = 0.0
        if not goals[queue] > 0:
            raise trace.TraceError(f"--goal {text!r}: write seconds above 0, such as 30 or emails=5")
    fleet = trace.Fleet(goals.pop("", 30.0), goals, options.slots, options.max_replicas)
    return trace.build(name, jobs, fleet, catalog.POD_STARTS[options.pods])


def _progress(done: int, total: int, last: Run) -> None:
    sys.stderr.write(f"\r{done}/{total} {last.workload} seed {last.seed}".ljust(60) + ("\n" if done == total else ""))
    sys.stderr.flush()
