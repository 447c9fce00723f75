"""``python -m benchmarks.keda``: the operator and KEDA 2.21 on the same jobs, into ``build/bench-keda.json``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.keda import keda
from benchmarks.keda.run import IMAGES, LIBRARY, SETTINGS, Run
from benchmarks.keda.workloads import WORKLOADS
from benchmarks.operator.world import ROOT, free_port, operator
from demo.signals import interrupting_loop
from devcluster import Cluster, Postgres

_NAME = "bench-keda"
SYSTEMS = ("rivermill", "keda-tuned", "keda")
_COLUMNS = (
    ("first pod s", "first_pod_seconds"),
    ("peak pods", "peak_pods"),
    ("at s", "peak_seconds"),
    ("wait p50 s", "wait_p50_seconds"),
    ("wait p95 s", "wait_p95_seconds"),
    ("pod-seconds", "pod_seconds"),
    ("of pure work", "pure_pod_seconds"),
    ("interrupted jobs", "interrupted"),
    ("queries a minute", "queries_per_minute"),
)


def main() -> int:
    """Run what is asked for; 0 when every job was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default=",".join(WORKLOADS), help="names, with commas between")
    parser.add_argument("--system", default=",".join(SYSTEMS), help=f"some of {', '.join(SYSTEMS)}")
    parser.add_argument("--logs", type=Path, help="keep the logs of KEDA and the operator there")
    options = parser.parse_args()
    systems, workloads = options.system.split(","), [WORKLOADS[name] for name in options.workload.split(",")]
    results: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(interrupting_loop())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = options.logs or scratch / "logs"
        logs.mkdir(exist_ok=True, parents=True)
        if any(system != "rivermill" for system in systems):
            keda.programs()
        certificates = keda.Certificates(scratch / "certificates")
        cluster = Cluster(_NAME, api_server_options=certificates.api_server())
        stack.callback(cluster.down)
        cluster.up()
        for image, dockerfile, context in IMAGES:
            cluster.build(image, dockerfile, context)
        cluster.load(LIBRARY)
        directory = scratch / "postgres"
        listen = ("127.0.0.1", cluster.host_address)
        postgres = stack.enter_context(Postgres(directory, listen=listen, settings=SETTINGS))
        cluster.kubectl("apply", "-f", str(ROOT / "crds" / "rivermill.dev_jobqueues.yaml"))
        cluster.kubectl("wait", "--for=condition=Established", "crd/jobqueues.rivermill.dev", "--timeout=30s")
        for workload in workloads:
            for system in systems:
                scaler = (
                    operator(cluster, logs / "operator.log", free_port())
                    if system == "rivermill"
                    else keda.running(cluster, certificates, logs)
                )
                with scaler:
                    figures = asyncio.run(Run(cluster, postgres, directory / "postgres.log", system, workload).run())
                results.setdefault(workload.name, {})[system] = figures
                print(workload.name, system, figures, sep=" | ", flush=True)
                (ROOT / "build").mkdir(exist_ok=True)
                (ROOT / "build" / "bench-keda.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table(results))
    return 0 if all(not run["unfinished"] for runs in results.values() for run in runs.values()) else 1


def table(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The figures as Markdown."""
    head = ["workload", "scaler", *(title for title, _ in _COLUMNS)]
    rows = [
        [workload, system, *(f"{figures[name]:,}" for _, name in _COLUMNS)]
        for workload, runs in results.items()
        for system, figures in runs.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    sys.exit(main())
