"""Every chart test runs with helm 3 and helm 4."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import DevclusterError, tools
from tests.chart.helm import Helm


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    major: int = request.param
    try:
        program: Path = tools.helm(major)
    except DevclusterError as error:
        pytest.skip(f"helm {major} is missing: {error}")
    return Helm(major, program, tmp_path_factory.mktemp(f"helm{major}"))
