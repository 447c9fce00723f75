"""``python -m benchmarks.operator``: the operator with 200 JobQueues and 5,000 pods, into ``build/bench-operator.json``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.operator import report
from benchmarks.operator.replicas import Replicas
from benchmarks.operator.run import run
from benchmarks.operator.world import ROOT, Scale, fake_nodes, kwok, migrate
from demo.signals import interrupting_loop
from devcluster import Cluster, Postgres

_NAME = "bench-operator"


def main() -> int:
    """Run; 0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-queues", type=int, default=40, help="of each of the five databases")
    parser.add_argument("--steady", type=float, default=300.0, metavar="SECONDS", help="how long to measure the steady state")
    parser.add_argument(
        "--profile", action="store_true", help="py-spy's profile of the steady state, into build/ (it costs CPU)"
    )
    parser.add_argument("--logs", type=Path, help="keep the logs of kwok and the operator there")
    options = parser.parse_args()
    scale = Scale(job_queues=options.job_queues, hot=options.job_queues // 2)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(interrupting_loop())
        kwok()
        logs = options.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs.mkdir(exist_ok=True)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(Postgres(directory))
        for namespace in scale.namespaces:
            migrate(postgres, namespace)
        replicas = Replicas(directory)
        cluster = Cluster(_NAME, replicas.options)
        stack.callback(cluster.down)
        cluster.up()
        cluster.kubectl("apply", "-f", str(ROOT / "crds" / "rivermill.dev_jobqueues.yaml"))
        cluster.kubectl("wait", "--for=condition=Established", "crd/jobqueues.rivermill.dev", "--timeout=30s")
        stack.enter_context(fake_nodes(cluster, logs / "kwok.log"))
        profile = build / "bench-operator.profile" if options.profile else None
        figures = asyncio.run(run(cluster, replicas, postgres, scale, options.steady, logs, profile))
    (build / "bench-operator.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(report.table(figures))
    return 0 if all(bar.met for bar in report.bars(figures)) else 1


if __name__ == "__main__":
    sys.exit(main())
