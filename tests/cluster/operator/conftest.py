"""Images, a database and one world for each test."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import AnyCluster, Postgres, temporary_postgres
from tests.cluster.world import APP, LIBRARY, ROOT, WORKER, World


@pytest.fixture(scope="session")
def images(cluster: AnyCluster) -> None:
    cluster.build(WORKER, ROOT / "Dockerfile.worker", ROOT)
    cluster.build(LIBRARY, ROOT / "examples" / "library" / "Dockerfile", ROOT / "examples" / "library")
    cluster.load(LIBRARY)
    cluster.kubectl("apply", "-f", str(ROOT / "crds" / "rivermill.dev_jobqueues.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/jobqueues.rivermill.dev", "--timeout=30s")


@pytest.fixture(scope="session")
def database(cluster: AnyCluster) -> Iterator[Postgres]:
    with temporary_postgres(("127.0.0.1", cluster.host_address)) as server:
        yield server


@pytest.fixture
def world(
    cluster: AnyCluster, images: None, database: Postgres, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[World]:
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:42].strip("-")
    # Tests of one long name and several parameters have namespaces of their own, too.
    name = f"{readable}-{hashlib.sha256(request.node.name.encode()).hexdigest()[:6]}"
    cluster.kubectl("create", "namespace", name)
    # Without it no pod can be made; a controller manager whose API server was away a moment ago takes its time.
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=120s")
    database.create_database(name)
    world = World(cluster, database, name, tmp_path)
    world.kubectl("create", "configmap", "app", f"--from-literal=slow.py={APP}")
    yield world
    world.release()
    cluster.kubectl("delete", "namespace", name, "--wait=false")
