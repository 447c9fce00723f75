"""The dev cluster for the tier; tests that change its parts bring a cluster of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from devcluster import AnyCluster, Cluster, CurrentCluster, DevclusterError, check_surroundings


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
