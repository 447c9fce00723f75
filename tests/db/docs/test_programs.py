"""Files that pages show run as they stand: programs, and tests under a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rivermill.schema import Schema
from tests.documents import Block, fenced

FILES = [block for block in fenced("python") if block.file]
PROGRAMS = [block for block in FILES if "asyncio.run(" in block.text]
TESTED = {block.page for block in FILES if str(block.file).startswith("test_")}
#: What a program prints.
PRINTED = {"greet.py": "Hello, Ann, from job 1\n", "jobs.py": ""}


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_programs(program: Block, tmp_path: Path, dsn: str, schema: Schema) -> None:
    write(program.page, tmp_path)
    printed = run(tmp_path, str(program.file), DATABASE_URL=dsn, RIVER_SCHEMA=schema.name)
    assert printed == PRINTED[str(program.file)]


@pytest.mark.parametrize("page", sorted(TESTED), ids=lambda page: page.name)
def test_tests(page: Path, tmp_path: Path, dsn: str) -> None:
    write(page, tmp_path)
    (settings,) = (block.text for block in fenced("toml") if block.page == page)
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    printed = run(tmp_path, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", TEST_DATABASE_URL=dsn)
    count = sum(block.text.count("def test_") for block in FILES if block.page == page)
    assert f"{count} passed" in printed


def write(page: Path, folder: Path) -> None:
    """Write all files of a page."""
    for block in FILES:
        if block.page == page:
            (folder / str(block.file)).write_text(block.text, encoding="utf-8")


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """What a Python prints that knows nothing of this repository's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RIVER_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
