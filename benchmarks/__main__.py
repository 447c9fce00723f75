"""``python -m benchmarks [peers|growth|memory]``: benchmarks, into ``build/bench.json``; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from benchmarks import aims, plots, report
from benchmarks.rounds import Rounds
from benchmarks.server import server
from benchmarks.sets import SETS
from benchmarks.systems import PythonDoesNotRunError, make_ready


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=SETS, default="peers")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "0")), help="how often")
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--system", default="", help="only systems with this in their name; several with commas between")
    parser.add_argument("--setup", default="", help="only setups with this in their settings; several with commas between")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many jobs, e.g. 0.2 for a short run")
    options = parser.parse_args()
    report.read()  # what cannot be added to is told now, not after the run
    cases, usual = SETS[options.what]
    wanted = [case.only(options.system, options.setup).scaled(options.scale) for case in cases if options.case in case.name]
    try:
        left_out = make_ready(report.systems_of(wanted))
    except PythonDoesNotRunError as error:
        parser.exit(1, f"{error}\n")
    wanted = [case for case in (case.without(left_out) for case in wanted) if case.setups]
    if not wanted:
        parser.error("there is no such case with such a system and setup")
    with server() as postgres:
        run = report.head(options.what, wanted, options.rounds or usual, asyncio.run(postgres.settings()), left_out)
        print(report.told(run), flush=True)
        for done, figures in enumerate(Rounds(postgres, wanted, options.rounds or usual).run(), 1):
            report.write(run | {"rounds": done, "cases": figures})
    print(*plots.draw(report.read(), report.BUILD), sep="\n")
    print(aims.table([run for run in report.read() if not report.scaled(run)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
