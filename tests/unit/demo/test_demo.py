"""The demo's verdict and its look at the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.summary import Outcome, Summary, percentile, problems
from demo.tree import BIG_BYTES, Seen, Tree, changed_between, differences, queue_of, walk

GOOD = {"jobs": 2, "completed": 2}


@pytest.mark.parametrize(
    ("summary", "outcome", "count"),
    [
        (GOOD, (0, 0, 0), 0),
        ({}, (0, 0, 0), 1),
        ({**GOOD, "completed": 1}, (0, 0, 0), 1),
        ({**GOOD, "lost": 1}, (0, 0, 0), 1),
        ({**GOOD, "pods_killed_busy": 1}, (0, 0, 0), 1),
        (GOOD, (1, 1, 1), 3),
    ],
)
def test_verdict(summary: dict[str, int], outcome: tuple[int, int, int], count: int) -> None:
    assert len(problems(Summary(**summary), Outcome(*outcome))) == count  # type: ignore[arg-type]


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.95) == 95


def test_big_directories_wait() -> None:
    assert queue_of({b"a": Seen(BIG_BYTES + 1, 0, readable=True)}) == "low_priority"
    assert queue_of({b"a": Seen(BIG_BYTES, 0, readable=True)}) == "default"
    assert queue_of(None) == "default"


def test_differences_are_named_and_changes_left_out() -> None:
    one, two = Seen(1, 1, readable=True), Seen(2, 2, readable=True)
    tree = Tree({"": {b"same": one, b"other": one, b"missing": one, b"moved": one}})
    recorded = {"": {b"same": one, b"other": two, b"more": one}}
    changed = changed_between(tree, Tree({"": {b"same": one, b"other": one, b"missing": one}}))
    assert changed == {("", b"moved")}
    assert [problem for _, _, problem in differences(tree, recorded, changed)] == [
        "not recorded",
        "recorded, but not there",
        "different",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up rights needs root")
def test_walk_sees_with_the_pods_rights(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "open").write_text("x")
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0o600)
    (tmp_path / "dark").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("dark")
    tree = walk(tmp_path)
    files = tree.directories[""] or {}
    assert {name: seen.readable for name, seen in files.items()} == {b"open": True, b"closed": False, b"link": True}
    assert tree.directories["dark"] is None
