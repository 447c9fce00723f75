"""The two images, built from the unmodified Dockerfiles and unpacked once a session."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import devcluster
from devcluster import images
from tests.image.image import Image, unpack

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one image is meant to be."""

    name: str
    distribution: str
    version_command: tuple[str, ...]
    command: tuple[str, ...]

    @property
    def dockerfile(self) -> Path:
        return ROOT / f"Dockerfile.{self.name}"


WORKER = Expected("worker", "rivermill", ("rivermill", "--version"), ("--help",))
OPERATOR = Expected("operator", "rivermill-operator", ("rivermill-operator", "version"), ("run",))


@pytest.fixture(scope="session", params=[WORKER, OPERATOR], ids=lambda e: e.name)
def expected(request: pytest.FixtureRequest) -> Expected:
    found: Expected = request.param
    return found


@pytest.fixture(scope="session")
def image(expected: Expected, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("building and unpacking images needs root on Linux")
    try:
        devcluster.prepare()
    except devcluster.DevclusterError as error:
        pytest.skip(f"images cannot be built here: {error}")
    missing = [program for program in ("buildah", "runc") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    tag = f"localhost/rivermill/{expected.name}-test:test"
    images.build(tag, expected.dockerfile, ROOT)
    unpacked = unpack(expected.name, images.archive(tag), tmp_path_factory.mktemp(expected.name))
    yield unpacked
    shutil.rmtree(unpacked.root)  # pytest would keep hundreds of megabytes of each of the last runs
