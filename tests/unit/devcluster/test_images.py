"""What an image is made from: whether it must be built again depends on it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devcluster.images import context_files

FILES = ("app/main.py", "app/deep/er.py", "requirements/dev.txt", "requirements/notes.md", "README.md", "ignored.log")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    return tmp_path


def seen(context: Path) -> set[str]:
    return {str(name) for name in context_files(context)}


def test_every_file_counts_where_nothing_is_left_out(context: Path) -> None:
    assert seen(context) == set(FILES)


def test_what_git_ignores_does_not_count(context: Path) -> None:
    (context / ".gitignore").write_text("*.log\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=context, check=True)
    assert seen(context) == {*FILES, ".gitignore"} - {"ignored.log"}


def test_an_ignore_file_that_begins_with_everything_lets_some_in(context: Path) -> None:
    (context / ".dockerignore").write_text("# comment\n*\n!app\n!requirements/*.txt\n**/*.pyc\n", encoding="utf-8")
    assert seen(context) == {"app/main.py", "app/deep/er.py", "requirements/dev.txt"}
