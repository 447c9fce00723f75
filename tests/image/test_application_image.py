"""The Dockerfiles that docs/install.md shows to application authors really make images that run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devcluster import images
from tests.image.conftest import ROOT, WORKER, Expected
from tests.image.image import Image, unpack

WORKER_TAG = "localhost/rivermill/worker-test:test"
PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "library"
version = "1.0"
dependencies = ["iniconfig"]
[tool.setuptools]
packages = ["library"]
"""
RUN = "import library, rivermill, os; print(library.NAME, rivermill.__version__, os.getuid())"


def documented(number: int) -> str:
    """One of the guide's Dockerfiles, on the worker's image of these tests."""
    blocks = re.findall(r"```dockerfile\n(.*?)```", (ROOT / "docs" / "install.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 2
    return str(re.sub(r"registry\.example\.com/rivermill/rivermill:[\d.]+", WORKER_TAG, blocks[number]))


@pytest.mark.parametrize("expected", [WORKER], indirect=True, ids=["worker"])
@pytest.mark.parametrize("number", [0, 1], ids=["two stages", "copied"])
def test_documented_dockerfile(image: Image, expected: Expected, number: int, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "library").mkdir(parents=True)
    (context / "library" / "__init__.py").write_text('NAME = "library"\n')
    (context / "pyproject.toml").write_text(PROJECT)
    dockerfile = context / "Dockerfile"
    # A comment that differs each time keeps an image of an earlier run from being taken for this one.
    dockerfile.write_text(f"# {tmp_path} {os.getpid()}\n{documented(number)}")
    tag = f"localhost/rivermill/application-test:{number}"
    images.build(tag, dockerfile, context)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    application = unpack(f"application-{number}", images.archive(tag), scratch)
    done: subprocess.CompletedProcess[str] = application.run("python", "-c", RUN)
    assert (done.returncode, done.stdout.split()) == (0, ["library", "0.1.0", "65532"]), done.stderr
    shutil.rmtree(application.root)
    assert application.config["config"]["Entrypoint"] == image.config["config"]["Entrypoint"]
