"""A namespace with a database, an application of slow jobs, and the operator as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from devcluster import AnyCluster, DevclusterError, Postgres

ROOT = Path(__file__).resolve().parents[2]
WORKER, LIBRARY = "localhost/rivermill/rivermill:0.1.0", "localhost/rivermill/library:0.1.0"
#: What pods work, as the file that ``slow:workers`` names.
APP = Path(__file__).with_name("slow.py").read_text(encoding="utf-8")
#: Jobs with these args, in one transaction that notifies, as a client of any language does: ``$1`` args, ``$2`` how many.
INSERT = """
    WITH made AS (
        INSERT INTO river_job (kind, args) SELECT 'sleep', $1::text::jsonb FROM generate_series(1, $2::int) RETURNING 1)
    SELECT pg_notify('public.river_insert', '{"queue": "default"}') FROM (SELECT count(*) FROM made) AS done
"""
#: Jobs that did not run exactly once. An attempt that a pod gives back when it is stopped does not count, and is told by its
#: client's name alone. Jobs of less than a second end before their pod does; they may have been given back before they began,
#: for such are claimed ahead.
INTERRUPTED = """
    SELECT count(*) FROM river_job
    WHERE attempt <> 1 OR state <> 'completed'
        OR (cardinality(attempted_by) <> 1 AND (args ->> 'seconds')::float8 >= 1)
"""
_CONTENTS = (
    "SELECT json_agg(f) FROM (SELECT state, attempt, count(*) FROM river_job GROUP BY 1, 2 ORDER BY 1, 2) AS f",
    "SELECT json_agg(c) FROM (SELECT client_id, busy, state, wanted_state, last_seen_at FROM rivermill_client) AS c",
)


def eventually(check: Callable[[], Any], seconds: float = 60.0, pause: float = 0.2) -> Any:
    """Ask until the answer is true, and return it; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s; the last answer was {value!r}"
        time.sleep(pause)
    return value


@dataclass
class World:
    """One namespace with a database of its own."""

    cluster: AnyCluster
    postgres: Postgres
    namespace: str
    logs: Path

    @property
    def url(self) -> str:
        return self.postgres.url(database=self.namespace)

    def kubectl(self, *arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, check=check, text=text)

    def get(self, *what: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.kubectl("get", *what, "-o", "json").stdout)
        return value

    def secret(self, url: str) -> None:
        data = {"url": base64.b64encode(url.encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": data}
        self.kubectl("apply", "-f", "-", text=json.dumps(secret))

    def pod_url(self) -> str:
        return self.postgres.url(self.cluster.host_address, self.namespace)

    def migrate(self) -> None:
        command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill", "migrate", "up"]
        subprocess.run(command, env=os.environ | {"DATABASE_URL": self.url}, check=True, capture_output=True, cwd=ROOT)

    def job_queue(self, name: str = "library", **scaling: Any) -> dict[str, Any]:
        # With more time to stop, jobs of so many seconds would hide that their pod was stopped too early.
        worker = {"image": LIBRARY, "app": "slow:workers", "shutdownTimeout": "1s", "template": pod_template()}
        return {
            "apiVersion": "rivermill.dev/v1alpha1",
            "kind": "JobQueue",
            "metadata": {"name": name},
            "spec": {
                "database": {"urlSecretRef": {"name": "db"}},
                "queues": [{"name": "default", "maxWorkers": 5}],
                "worker": worker,
                "scaling": {"maxReplicas": 3, "scaleIn": {"windowSeconds": 2}, **scaling},
            },
        }

    def apply(self, manifest: dict[str, Any], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.kubectl("apply", "-f", "-", text=json.dumps(manifest), check=check)

    def condition(self, kind: str, name: str = "library") -> tuple[str, str]:
        conditions = self.get("jobqueue", name).get("status", {}).get("conditions", [])
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    def replicas(self) -> int:
        return sum(d["spec"]["replicas"] for d in self.get("deployments")["items"])

    def release(self) -> None:
        """Take the finalizer off every JobQueue: the namespace goes with or without an operator."""
        patch = '{"metadata":{"finalizers":[]}}'
        for item in self.get("jobqueues")["items"]:
            self.kubectl("patch", "jobqueue", item["metadata"]["name"], "--type=merge", "-p", patch, check=False)

    def report(self) -> str:
        """What there is in the namespace and in the database, for whoever reads of a failure."""
        told = []
        try:
            for kinds in ("deployments,pods", "jobqueues", "events"):
                done = self.kubectl("get", kinds, "-o", "wide", check=False)
                told.append(done.stdout + done.stderr)
            told += [f"{statement}:\n{sql(self, statement)}" for statement in _CONTENTS]
        except (DevclusterError, OSError, asyncpg.PostgresError) as error:  # what failed may be the very reason
            told.append(repr(error))
        return "\n".join(told)

    @contextlib.contextmanager
    def operator(self, instance: str = "one") -> Iterator[subprocess.Popen[bytes]]:
        """Run an operator for this namespace, measured by coverage."""
        env = os.environ | {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "RIVERMILL_WATCH_NAMESPACES": self.namespace,
            "RIVERMILL_HTTP_PORT": "0",
            "POD_NAMESPACE": self.namespace,
            "POD_NAME": instance,
        }
        command = [sys.executable, "-m", "coverage", "run", "-m", "rivermill_operator", "run"]
        with (self.logs / f"{instance}.log").open("ab") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=ROOT)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"operator {instance} does not end when it is told to") from None


def pod_template() -> dict[str, Any]:
    """Of pods that find the application in the ConfigMap ``app``."""
    container = {
        "name": "worker",
        "imagePullPolicy": "Never",
        "env": [{"name": "PYTHONPATH", "value": "/app"}],
        "volumeMounts": [{"name": "app", "mountPath": "/app"}],
    }
    return {"spec": {"containers": [container], "volumes": [{"name": "app", "configMap": {"name": "app"}}]}}


def sql(world: World, statement: str, *arguments: Any) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(world.url)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def enqueue(world: World, count: int, seconds: float) -> None:
    """Insert jobs that sleep so long."""
    sql(world, INSERT, json.dumps({"seconds": seconds}), count)


def unfinished(world: World) -> int:
    return int(sql(world, "SELECT count(*) FROM river_job WHERE finalized_at IS NULL"))


def ready(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    world.apply(world.job_queue())
    eventually(lambda: world.condition("Ready")[0] == "True", 90)
