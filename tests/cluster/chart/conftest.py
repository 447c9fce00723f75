"""A cluster of its own, because installing and removing a CRD concerns everybody on a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import devcluster
from devcluster import Cluster

ROOT = Path(__file__).resolve().parents[3]
CHARTS = ROOT / "charts"
IMAGE = "localhost/rivermill/operator-test:test"
CRD = "jobqueues.rivermill.dev"
VALUES = ["image.registry=localhost", "image.repository=rivermill/operator-test", "image.tag=test", "image.pullPolicy=Never"]


@dataclass(frozen=True, slots=True)
class Installation:
    """One namespace with both charts, installed by one helm."""

    cluster: Cluster
    major: int
    namespace: str

    def helm(self, *arguments: str) -> str:
        return self.cluster.helm(*arguments, "--namespace", self.namespace, major=self.major).stdout

    def upgrade(self, chart: str, *values: str) -> str:
        """Install or upgrade a chart and return what helm said, its notes included."""
        settings = [option for value in values for option in ("--set", value)]
        wait = ["--wait", "--timeout", "180s"] if chart == "rivermill" else []
        return self.helm("upgrade", "--install", chart, str(CHARTS / chart), *settings, *wait)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, text=text).stdout

    def logs(self) -> str:
        return self.kubectl("logs", "-l", "app.kubernetes.io/instance=rivermill", "--tail=-1", "--prefix")


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Poll until the condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    own = Cluster("chart")
    try:
        own.down()  # one that an interrupted run has left holds its objects
        own.up()
        own.build(IMAGE, ROOT / "Dockerfile.operator", ROOT)
        own.load(IMAGE)
    except devcluster.DevclusterError as error:
        own_is_possible(error)
        raise
    yield own
    own.down()


def own_is_possible(error: devcluster.DevclusterError) -> None:
    """Skip where no cluster can run; where one can, its failure is a failure."""
    try:
        devcluster.check_surroundings()
    except devcluster.DevclusterError:
        pytest.skip(f"no cluster can run here: {error}")


@pytest.fixture(scope="session", params=[4, 3], ids=["helm4", "helm3"])
def installed(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Installation]:
    """Both charts with their defaults, in a namespace that admits restricted pods only."""
    major: int = request.param
    here = Installation(cluster, major, f"mill-helm{major}")
    cluster.kubectl("create", "namespace", here.namespace)
    cluster.kubectl("label", "namespace", here.namespace, "pod-security.kubernetes.io/enforce=restricted")
    here.upgrade("rivermill-crds")
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=60s")
    here.upgrade("rivermill", *VALUES)
    yield here
    here.helm("uninstall", "rivermill", "--wait", "--ignore-not-found")  # a test that failed may have done it
    here.helm("uninstall", "rivermill-crds", "--ignore-not-found")
    release_jobqueues(cluster)
    cluster.kubectl("delete", "crd", CRD, "--timeout=60s")
    cluster.kubectl("delete", "namespace", here.namespace, "--timeout=120s")


def release_jobqueues(cluster: Cluster) -> None:
    """Without an operator nobody else takes its finalizer off."""
    items = json.loads(cluster.kubectl("get", "jobqueues", "-A", "-o", "json").stdout)["items"]
    for meta in (item["metadata"] for item in items):
        patch = '{"metadata":{"finalizers":null}}'
        cluster.kubectl("-n", meta["namespace"], "patch", "jobqueue", meta["name"], "--type=merge", "-p", patch)
