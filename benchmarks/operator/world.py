"""What the operator is put into: the dev cluster, kwok's nodes, five databases, and as many ``JobQueue`` objects as wanted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gotools
from benchmarks.operator.api import Api
from devcluster import Cluster, DevclusterError, Postgres

ROOT = Path(__file__).resolve().parents[2]
KWOK = "v0.8.0"
_KWOK = Path(__file__).parent / "kwok"
MANAGED = "app.kubernetes.io/managed-by=rivermill"
_JOB_QUEUES = "/apis/rivermill.dev/v1alpha1/namespaces/{}/jobqueues"
_TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
_PODS_A_NODE = 120
_AT_ONCE = 8


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        databases: each with a namespace of its own.
        job_queues: of each database.
        hot: of these, the ones that get jobs.
        idle_pods: of every JobQueue from the beginning.
        hot_pods: of a hot one once it has its jobs.
        slots: of each pod.
        job_seconds: what a job takes.
        burst: jobs that each hot queue gets at once; afterwards two a second.
    """

    databases: int = 5
    job_queues: int = 40
    hot: int = 20
    idle_pods: int = 20
    hot_pods: int = 30
    slots: int = 4
    job_seconds: float = 60.0
    burst: int = 150

    @property
    def first_pods(self) -> int:
        """Pods before anything is asked for."""
        return self.databases * self.job_queues * self.idle_pods

    @property
    def pods(self) -> int:
        """Pods once the hot queues have theirs."""
        return self.first_pods + self.databases * self.hot * (self.hot_pods - self.idle_pods)

    @property
    def namespaces(self) -> list[str]:
        """One a database."""
        return [f"scale-{number}" for number in range(self.databases)]

    def names(self, database: int) -> list[str]:
        """JobQueues of a database, each with a queue of its name; the hot ones come first."""
        return [f"queue-{database}-{number:03d}" for number in range(self.job_queues)]


def kwok() -> Path:
    """The kwok program."""
    stamp = f"-s -w -X sigs.k8s.io/kwok/pkg/consts.Version={KWOK}"
    return gotools.build(f"kwok-{KWOK}", _KWOK, {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, stamp) / "kwok"


@contextlib.contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as this."""
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment, cwd=ROOT)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def fake_nodes(cluster: Cluster, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Kwok, which makes every pod on nodes with its label Ready at once."""
    command = [str(kwok()), f"--kubeconfig={cluster.kubeconfig}", "--manage-all-nodes=false",
               "--manage-nodes-with-label-selector=type=kwok", "--node-lease-duration-seconds=40",
               f"--config={_KWOK / 'stages.yaml'}"]  # fmt: skip
    with process(command, log) as running:
        time.sleep(2)
        if running.poll() is not None:
            raise DevclusterError(f"kwok ended at once: {log.read_text(encoding='utf-8')[-500:]}")
        yield running


@contextlib.contextmanager
def operator(cluster: Cluster, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The operator, for all namespaces."""
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "RIVERMILL_HTTP_PORT": str(port),
        "POD_NAMESPACE": "default",
        "POD_NAME": "benchmark",
    }
    with process([sys.executable, "-m", "rivermill_operator", "run"], log, **environment) as running:
        yield running


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def migrate(postgres: Postgres, database: str) -> None:
    """Make a database with River's tables and ours."""
    postgres.create_database(database)
    environment = os.environ | {"DATABASE_URL": postgres.url(database=database)}
    subprocess.run([sys.executable, "-m", "rivermill", "migrate", "up"], env=environment, check=True, capture_output=True)


async def make_nodes(api: Api, pods: int) -> None:
    """Enough nodes for so many pods."""
    room = {"cpu": "1k", "memory": "1Ti", "pods": str(_PODS_A_NODE)}
    for number in range(pods // _PODS_A_NODE + 6):
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"fake-{number:03d}", "labels": {"type": "kwok", "kubernetes.io/os": "linux"}},
            "spec": {"taints": [_TAINT]},
            "status": {"allocatable": room, "capacity": room},
        }
        await api.send("POST", "/api/v1/nodes", node)


async def make_job_queues(api: Api, scale: Scale, postgres: Postgres) -> None:
    """Namespaces, Secrets and JobQueues."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def make(path: str, body: dict[str, Any]) -> None:
        async with turns:
            await api.send("POST", path, body)

    for namespace in scale.namespaces:
        await make("/api/v1/namespaces", {"metadata": {"name": namespace}})
        url = base64.b64encode(postgres.url(database=namespace).encode()).decode()
        await make(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "db"}, "data": {"url": url}})
    await asyncio.gather(
        *(
            make(_JOB_QUEUES.format(namespace), _job_queue(name, scale, hot=place < scale.hot))
            for number, namespace in enumerate(scale.namespaces)
            for place, name in enumerate(scale.names(number))
        )
    )


def _job_queue(name: str, scale: Scale, *, hot: bool) -> dict[str, Any]:
    pod = {
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": _TAINT["key"], "operator": "Exists"}],
        "containers": [{"name": "worker", "imagePullPolicy": "Never"}],
    }
    queue = {"name": name, "maxWorkers": scale.slots, "expectedJobSeconds": scale.job_seconds}
    return {
        "apiVersion": "rivermill.dev/v1alpha1",
        "kind": "JobQueue",
        "metadata": {"name": name},
        "spec": {
            "database": {"urlSecretRef": {"name": "db"}},
            "queues": [queue],
            "worker": {"image": "localhost/nobody:1", "app": "none:workers", "template": {"spec": pod}},
            "scaling": {"minReplicas": scale.idle_pods, "maxReplicas": scale.hot_pods if hot else scale.idle_pods + 5},
        },
    }
