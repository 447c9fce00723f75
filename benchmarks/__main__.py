"""``python -m benchmarks``: every benchmark, into ``build/``; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks import rounds, wake
from benchmarks.cases import CASES
from benchmarks.server import SETTINGS, server

BUILD = Path(__file__).resolve().parent.parent / "build"


def main() -> int:
    """Run what is asked for and write ``build/bench.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")))
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--system", default="", help="only systems with this in their name; several with commas between")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many jobs, e.g. 0.2 for a short run")
    parser.add_argument("--no-wake", action="store_true", help="leave out the one that needs the dev cluster")
    options = parser.parse_args()
    wanted = [case.only(options.system).scaled(options.scale) for case in CASES if options.case in case.name]
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    head = {"rounds": options.rounds, "scale": options.scale, "machine": machine, "server": SETTINGS}
    BUILD.mkdir(exist_ok=True)
    with server() as postgres:
        for figures in rounds.run(postgres, [case for case in wanted if case.setups], options.rounds):
            (BUILD / "bench.json").write_text(json.dumps(head | {"cases": figures}, indent=2) + "\n", encoding="utf-8")
    return 0 if options.no_wake else wake.main()


if __name__ == "__main__":
    sys.exit(main())
