"""The dev cluster for the tier; tests that change its parts bring a cluster of their own."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from devcluster import AnyCluster, Cluster, CurrentCluster, DevclusterError, check_surroundings
from tests.cluster.world import World

_MOST_OF_A_LOG = 6_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure tells of its namespace, before that is removed."""
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.when == "call" and report.failed and isinstance(world, World):
        report.sections.append(("the test's namespace", world.report()))
        for log in world.logs.glob("*.log"):
            report.sections.append((log.name, log.read_text(errors="replace")[-_MOST_OF_A_LOG:]))
    return report


@pytest.fixture(scope="session")
def cluster() -> Iterator[AnyCluster]:
    """The dev cluster; with ``CLUSTER=current`` the one of the current kubectl context."""
    if os.environ.get("CLUSTER") == "current":
        current = CurrentCluster()
        yield current
        current.close()
        return
    try:
        check_surroundings()
    except DevclusterError as error:
        pytest.skip(str(error))
    cluster = Cluster(os.environ.get("RIVERMILL_TEST_CLUSTER", "test"))
    was_running = cluster.running()
    cluster.up()
    yield cluster
    if not was_running:
        cluster.down()
