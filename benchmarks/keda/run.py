"""One workload on one scaler, from the first job until all jobs are done and all pods are gone."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.keda import keda
from benchmarks.keda.workloads import GOAL, MOST_PODS, SLOTS, Workload
from benchmarks.operator.api import Api
from benchmarks.operator.run import background, until
from benchmarks.operator.world import ROOT, migrate
from devcluster import Cluster, Postgres
from devcluster.progress import say
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.plan import manifests
from tests.cluster.world import APP, INSERT, pod_template

LIBRARY = "localhost/rivermill/library:0.1.0"
IMAGES = (
    ("localhost/rivermill/rivermill:0.1.0", ROOT / "Dockerfile.worker", ROOT),
    (LIBRARY, ROOT / "examples" / "library" / "Dockerfile", ROOT / "examples" / "library"),
)
#: Server settings: every statement with the name of the program that sent it, to be counted.
SETTINGS = {"log_statement": "all", "log_line_prefix": "%a|"}
_SCALERS = {"rivermill": "rivermill-operator", "keda": "keda"}
_SECONDS = 1_800.0
#: A job that was given back has run in two clients, though the attempt does not count.
_RESULT = """
    SELECT count(*) FILTER (WHERE state <> 'completed') AS unfinished,
        count(*) FILTER (WHERE attempt <> 1 OR cardinality(attempted_by) <> 1) AS interrupted,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM attempted_at - scheduled_at)) AS p50,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM attempted_at - scheduled_at)) AS p95
    FROM river_job
"""


@dataclass
class Pods:
    """Pods as a client of the API server sees them; times are seconds of ``time.monotonic``."""

    first_ready: float | None = None
    peak: int = 0
    peak_at: float = 0.0
    pod_seconds: float = 0.0
    here: dict[str, float] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)

    def see(self, kind: str, pod: Mapping[str, Any]) -> None:
        """A change."""
        now, uid = time.monotonic(), pod["metadata"]["uid"]
        if kind == "DELETED":
            self.pod_seconds += now - self.here.pop(uid, now)
            self.ready.discard(uid)
            return
        self.here.setdefault(uid, now)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())
        (self.ready.add if ready else self.ready.discard)(uid)
        if ready and self.first_ready is None:
            self.first_ready = now
        if len(self.ready) > self.peak:
            self.peak, self.peak_at = len(self.ready), now


class Run:
    """One workload on one scaler.

    Args:
        cluster: with the images, and KEDA where it is asked for.
        postgres: with ``SETTINGS``.
        log: of the server.
        system: ``rivermill``, ``keda`` or ``keda-tuned``.
        workload: what comes.
    """

    def __init__(self, cluster: Cluster, postgres: Postgres, log: Path, system: str, workload: Workload) -> None:
        self._cluster, self._postgres, self._log = cluster, postgres, log
        self._system, self._workload = system, workload
        self._namespace = f"{workload.name}-{system}"
        self._pods = Pods()

    async def run(self) -> dict[str, Any]:
        """Run it and return the figures."""
        say(f"{self._workload.name} on {self._system}")
        migrate(self._postgres, self._namespace)
        async with Api(self._cluster.kubeconfig) as api:
            self._prepare()
            connection = await asyncpg.connect(
                self._postgres.url(database=self._namespace), server_settings={"application_name": "harness"}
            )
            try:
                path = f"/api/v1/namespaces/{self._namespace}/pods"
                async with background(api.follow(path, "", self._pods.see)):
                    await self._scaler_ready(api)
                    return await self._measure(connection)
            finally:
                await connection.close()
                self._delete()

    async def _measure(self, connection: Any) -> dict[str, Any]:
        queries, begun = self._queries(), time.monotonic()
        for at, jobs in self._workload.arrivals:
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
            await connection.execute(INSERT, json.dumps({"seconds": self._workload.job_seconds}), jobs)
        left = "SELECT count(*) FROM river_job WHERE finalized_at IS NULL"
        while unfinished := await connection.fetchval(left):
            if time.monotonic() - begun > _SECONDS:
                raise TimeoutError(f"{self._namespace}: {unfinished} jobs are not done after {_SECONDS:g} s")
            await asyncio.sleep(0.5)
        done = time.monotonic() - begun
        await until(lambda: not self._pods.here, _SECONDS, "no pods left", lambda: f"{len(self._pods.here)} pods")
        elapsed = time.monotonic() - begun
        row, pods = await connection.fetchrow(_RESULT), self._pods
        return {
            "jobs": self._workload.jobs,
            "unfinished": row["unfinished"],
            "interrupted": row["interrupted"],
            "wait_p50_seconds": round(float(row["p50"]), 1),
            "wait_p95_seconds": round(float(row["p95"]), 1),
            "first_pod_seconds": round((pods.first_ready or begun) - begun, 1),
            "peak_pods": pods.peak,
            "peak_seconds": round(pods.peak_at - begun, 1),
            "pod_seconds": round(pods.pod_seconds),
            "pure_pod_seconds": round(self._workload.pure_pod_seconds),
            "done_seconds": round(done, 1),
            "queries_per_minute": round((self._queries() - queries) / elapsed * 60, 1),
            "seconds": round(elapsed, 1),
        }

    def _queries(self) -> int:
        """Statements that the scaler has sent to any database."""
        name = _SCALERS[self._system.partition("-")[0]]
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            return sum(line.startswith(f"{name}|LOG:") and (" execute " in line or " statement: " in line) for line in lines)

    def _prepare(self) -> None:
        cluster, namespace = self._cluster, self._namespace
        cluster.kubectl("create", "namespace", namespace)
        url = self._postgres.url(cluster.host_address, namespace)
        secret = {"url": base64.b64encode(url.encode()).decode()}
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": secret},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"slow.py": APP}},
        ]
        job_queue = _job_queue(namespace)
        if self._system == "rivermill":
            objects.append(job_queue)
        else:
            objects += [_deployment(job_queue, url), keda.scaled_object("workers", tuned=self._system == "keda-tuned")]
        self._apply(objects)

    def _apply(self, objects: list[dict[str, Any]]) -> None:
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self._cluster.kubectl("--namespace", self._namespace, "apply", "-f", "-", text=items)

    async def _scaler_ready(self, api: Api) -> None:
        """Wait until the scaler has taken the object up and the fleet stands at nothing; KEDA looks once when it does."""
        group = "rivermill.dev/v1alpha1" if self._system == "rivermill" else "keda.sh/v1alpha1"
        kind = "jobqueues" if self._system == "rivermill" else "scaledobjects"
        path = f"/apis/{group}/namespaces/{self._namespace}/{kind}"
        deadline = time.monotonic() + 120
        while True:
            ((item,), _) = await api.items(path)
            ready = {c["type"]: c["status"] for c in item.get("status", {}).get("conditions", [])}
            if ready.get("Ready") == "True" and not self._pods.here:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._namespace}: {item.get('status')}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(10)

    def _delete(self) -> None:
        name = "jobqueue/workers" if self._system == "rivermill" else "scaledobject/workers"
        self._cluster.kubectl("--namespace", self._namespace, "delete", name, "--timeout=60s", check=False)
        self._cluster.kubectl("delete", "namespace", self._namespace, "--wait=false", check=False)


def _job_queue(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "rivermill.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": "workers", "namespace": namespace},
        "spec": {
            "database": {"urlSecretRef": {"name": "db"}},
            "queues": [{"name": "default", "maxWorkers": SLOTS, "targetWaitSeconds": GOAL}],
            "worker": {"image": LIBRARY, "app": "slow:workers", "template": pod_template()},
            "scaling": {"maxReplicas": MOST_PODS},
        },
    }


def _deployment(job_queue: dict[str, Any], url: str) -> dict[str, Any]:
    """The pods that our operator would make, in a Deployment that KEDA scales."""
    named = {**job_queue, "metadata": {**job_queue["metadata"], "uid": "none"}}
    made = copy.deepcopy(dict(manifests.build(parse_job_queue(named)).deployment))
    template, labels = made["spec"]["template"], {"app": "workers"}
    template["metadata"]["labels"] = labels
    # KEDA takes the URL from the environment of the pods that it scales.
    template["spec"]["containers"][0]["env"].append(
        {"name": "KEDA_URL", "value": f"{url}?sslmode=disable&application_name=keda"}
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "workers"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
