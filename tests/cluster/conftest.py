"""The dev cluster for the tier; tests that change its parts bring a cluster of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from devcluster import Cluster, DevclusterError, check_surroundings


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
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
