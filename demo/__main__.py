"""``python -m demo``: exit 0 only if every job completed exactly once and nothing busy was killed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from demo import run, setup, signals
from demo.ending import asked, ending
from demo.summary import Outcome, Summary, problems
from demo.tree import Tree
from devcluster import Cluster, DevclusterError, check_surroundings
from devcluster.paths import cache
from devcluster.progress import say

_INTERRUPTED = 130


def main() -> int:
    """Run the demo, clean up and judge.

    Returns:
        0 if it was a success; 1 if not, with the reasons on standard error; 130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, end to end, on the dev cluster.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args()
    try:
        check_surroundings()
        with _alone(), signals.interrupting():
            summary, outcome = _run(keep=options.keep)
    except KeyboardInterrupt:
        kept = "the cluster is still there, the rest is gone" if options.keep else "what was started is gone again"
        sys.stderr.write(f"demo: interrupted; {kept}\n")
        return _INTERRUPTED
    except (DevclusterError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return _judge(summary, outcome)


def _run(*, keep: bool) -> tuple[Summary, Outcome]:
    if os.environ.pop("DATABASE_URL", None):
        say("DATABASE_URL is not used: the demo starts a Postgres of its own")
    run.check_limit()
    cluster = Cluster()
    keep = keep or cluster.running()
    with contextlib.ExitStack() as clean_up:
        clean_up.enter_context(_cleaning(cluster, keep=keep))
        trees: list[Tree] = []
        url = setup.start(cluster, clean_up, lambda: trees.append(run.first_walk()))
        return _scan(cluster, url, trees[0])


def _scan(cluster: Cluster, url: str, before: Tree) -> tuple[Summary, Outcome]:
    with signals.interrupting_loop():
        return asyncio.run(run.scan_library(cluster, url, before))


@contextlib.contextmanager
def _cleaning(cluster: Cluster, *, keep: bool) -> Iterator[None]:
    """In the end the cluster is as it was: gone, or running without our JobQueue."""
    try:
        yield
    finally:
        with signals.ignoring():
            if not keep:
                cluster.down()
            elif cluster.running():
                # Its database has gone already, so nothing can be drained any more.
                cluster.kubectl("patch", "jobqueue", "library", "--type=merge", "-p", setup.IMMEDIATE, check=False)
                cluster.kubectl("delete", "jobqueue", "library", "--ignore-not-found", "--timeout=60s", check=False)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two demos would share a cluster and a database.

    Raises:
        DevclusterError: another one runs.
    """
    with (cache() / "demo.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DevclusterError("another demo runs on this computer: wait until it has ended") from None
        yield


def _judge(summary: Summary, outcome: Outcome) -> int:
    path = setup.ROOT / "build" / "demo.json"
    write(summary, path)
    wrong = problems(summary, outcome)
    for line in ending(summary, asked(yaml.safe_load(setup.JOB_QUEUE.read_text(encoding="utf-8"))), good=not wrong):
        print(line)
    for text in wrong:
        sys.stderr.write(f"demo: {text}\n")
    say(f"figures are in {path.relative_to(setup.ROOT)}")
    return 1 if wrong else 0


def write(summary: Summary, path: Path) -> None:
    """Write the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary.to_json(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
