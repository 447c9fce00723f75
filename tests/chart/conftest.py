"""Every chart test runs with helm 3 and helm 4."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import DevclusterError, tools
from tests.chart.helm import Helm


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return ready(request.param, tmp_path_factory.mktemp(f"helm{request.param}"))


@pytest.fixture(scope="session")
def helm4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """For what helm 3 cannot do without a cluster."""
    return ready(4, tmp_path_factory.mktemp("helm4"))


def ready(major: int, scratch: Path) -> Helm:
    try:
        return Helm(major, tools.helm(major), scratch)
    except DevclusterError as error:
        pytest.skip(f"helm {major} is missing: {error}")
