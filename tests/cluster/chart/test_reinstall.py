"""The operator is removed while jobs wait, and installed again: nothing is lost, and nothing stops in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import Cluster, Postgres, temporary_postgres
from tests.cluster.chart.conftest import VALUES, Installation
from tests.cluster.world import APP, INTERRUPTED, LIBRARY, ROOT, WORKER, World, enqueue, eventually, ready, sql, unfinished


@pytest.fixture(scope="session")
def database(cluster: Cluster) -> Iterator[Postgres]:
    cluster.build(WORKER, ROOT / "Dockerfile.worker", ROOT)
    cluster.build(LIBRARY, ROOT / "examples" / "library" / "Dockerfile", ROOT / "examples" / "library")
    cluster.load(LIBRARY)
    with temporary_postgres(("127.0.0.1", cluster.host_address)) as server:
        yield server


@pytest.fixture
def world(installed: Installation, database: Postgres, tmp_path: Path) -> Iterator[World]:
    installed.upgrade("rivermill", *VALUES)  # other tests leave it with namespaces of their own
    name = f"reinstall-{installed.major}"
    installed.cluster.kubectl("create", "namespace", name)
    database.create_database(name)
    world = World(installed.cluster, database, name, tmp_path)
    world.kubectl("create", "configmap", "app", f"--from-literal=slow.py={APP}")
    yield world
    world.release()
    installed.cluster.kubectl("delete", "namespace", name, "--timeout=120s")


def test_jobs_outlast_an_uninstall(installed: Installation, world: World) -> None:
    ready(world)
    enqueue(world, 10, 2)
    enqueue(world, 2, 40)
    eventually(lambda: sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") >= 5)
    installed.helm("uninstall", "rivermill", "--wait")
    installed.helm("uninstall", "rivermill-crds")
    enqueue(world, 30, 0.2)
    eventually(lambda: unfinished(world) <= 2)  # the fleet works on without an operator
    assert world.replicas() > 0
    installed.upgrade("rivermill-crds")
    installed.upgrade("rivermill", *VALUES)
    enqueue(world, 20, 1)
    eventually(lambda: unfinished(world) == 0, 90)
    eventually(lambda: world.replicas() == 0, 120)
    assert sql(world, INTERRUPTED) == 0
    assert sql(world, "SELECT count(*) FROM river_job") == 62
    world.kubectl("delete", "jobqueue", "--all", "--timeout=90s")  # what the first operator held the second lets go
