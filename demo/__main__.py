"""``python -m demo``: exit 0 only if every job completed exactly once and nothing busy was killed."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from types import FrameType

from demo import run, setup
from demo.summary import problems
from devcluster import Cluster, DevclusterError, check_surroundings
from devcluster.progress import say


def main() -> int:
    """Run the demo and clean up."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, end to end, on the dev cluster.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    cluster = Cluster()
    postgres = None
    try:
        check_surroundings()
        before = run.first_walk()
        postgres = setup.start(cluster)
        summary, outcome = asyncio.run(run.scan_library(cluster, postgres.url(), before))
    except DevclusterError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 130
    finally:
        _clean_up(cluster, keep=options.keep)
        if postgres is not None:
            postgres.stop()
    path = setup.ROOT / "build" / "demo.json"
    run.write(summary, path)
    for name, value in summary.to_json().items():
        print(f"{name:>24}: {value}")
    wrong = problems(summary, outcome)
    for text in wrong:
        sys.stderr.write(f"demo: {text}\n")
    say(f"figures are in {path.relative_to(setup.ROOT)}")
    return 1 if wrong else 0


def _clean_up(cluster: Cluster, *, keep: bool) -> None:
    if cluster.running():
        cluster.kubectl("delete", "jobqueue", "library", "--ignore-not-found", "--timeout=90s", check=False)
    if not keep:
        cluster.down()


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
