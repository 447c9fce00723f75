"""The demo's verdict and its look at the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from demo import setup
from demo.ending import Asked, asked, ending
from demo.run import directories_limit
from demo.summary import Outcome, Summary, problems
from demo.tree import BIG_BYTES, Seen, Tree, changed_between, differences, queue_of, walk
from demo.view import Moment
from devcluster import DevclusterError

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


def test_the_ending_says_what_was_proved() -> None:
    file = setup.JOB_QUEUE.read_text(encoding="utf-8")
    summary = Summary(
        jobs=17149, rescans=74, files=212345, completed=17149, retried=3, seconds=172.3, peak_pods=6,
        first_pod_seconds=2.1, write_replicas_seconds=0.07,
        wait_p50_seconds={"default": 31.2, "high_priority": 0.1}, wait_p95_seconds={"default": 63.0, "high_priority": 0.3},
    )  # fmt: skip
    wanted = asked(yaml.safe_load(file))
    assert list(ending(summary, wanted, good=True)) == [
        (
            "jobs: all 17,149 did their work exactly once, in 172.3 s (17,075 directories, and 74 rescans that were asked for "
            "meanwhile); 3 were retried"
        ),
        "files: 212,345 are recorded, as a plain walk of the tree sees them",
        "pods: at most 6 at a time, where maxReplicas is 6; 0 were stopped while they ran jobs",
        "start: after the first job was inserted, replicas were written within 0.07 s, and the first pod was Ready after 2.1 s",
        (
            "waits in queue default: half of its jobs up to 31.2 s, 95 % up to 63 s, above the goal of 30 s: "
            "maxReplicas 6 allowed no more pods"
        ),
        "waits in queue high_priority: half of its jobs up to 0.1 s, 95 % up to 0.3 s, within the goal of 5 s",
    ]
    assert set(wanted.goals) == {"default", "high_priority", "low_priority"}


def test_the_ending_of_a_run_that_went_wrong_claims_nothing() -> None:
    summary = Summary(jobs=5, completed=4, peak_pods=1, wait_p50_seconds={"a": 1, "b": 1}, wait_p95_seconds={"a": 9, "b": 9})
    lines = list(ending(summary, Asked({"a": 5.0}, 2), good=False))
    assert lines[0].startswith("jobs: 4 of 5 completed, in 0 s (5 directories, and 0 rescans")
    assert lines[1] == "files: 0 are recorded"
    assert lines[3:] == [
        "waits in queue a: half of its jobs up to 1 s, 95 % up to 9 s, above the goal of 5 s",
        "waits in queue b: half of its jobs up to 1 s, 95 % up to 9 s",
    ]


def test_big_directories_wait() -> None:
    assert queue_of({b"a": Seen(BIG_BYTES + 1, 0, readable=True)}) == "low_priority"
    assert queue_of({b"a": Seen(BIG_BYTES, 0, readable=True)}) == "default"
    assert queue_of(None) == "default"


def test_differences_are_named_and_changes_left_out() -> None:
    one, two = Seen(1, 1, readable=True), Seen(2, 2, readable=True)
    tree = Tree({b"": {b"same": one, b"other": one, b"missing": one, b"moved": one}, b"dark": None, b"shut": {}})
    recorded = Tree({b"": {b"same": one, b"other": two, b"more": one}, b"dark": {}, b"shut": None})
    changed = changed_between(tree, Tree({b"": {b"same": one, b"other": one, b"missing": one}, b"dark": None}))
    assert changed == {(b"", b"moved"), (b"shut", b"")}
    assert differences(tree, recorded, changed) == [
        (b"", b"missing", "not recorded"),
        (b"", b"more", "recorded, but not there"),
        (b"", b"other", "different"),
        (b"dark", b"", "listed by one side only"),
    ]
    assert differences(tree, tree, set()) == []


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
    (tmp_path / os.fsdecode(b"odd \xff")).mkdir()
    tree = walk(tmp_path)
    files = tree.directories[b""] or {}
    assert {name: seen.readable for name, seen in files.items()} == {b"open": True, b"closed": False, b"link": True}
    assert tree.directories[b"dark"] is None
    assert tree.directories[b"odd \xff"] == {}
    assert len(walk(tmp_path, 1).directories) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up rights needs root")
def test_a_walk_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(DevclusterError, match=r"(?s)failed: .*many"):
        walk(tmp_path, "many")  # type: ignore[arg-type]


def test_moments_are_plain_lines_and_tables() -> None:
    moment = Moment(12.3, 269, 55, 100, 3, 6, 4.56, "growing from 3 to 6")
    assert moment.line() == (
        "waiting 269 | running 55 | completed 100 | pods 3/6 | oldest wait 4.6 s | operator growing from 3 to 6"
    )
    table = moment.table()
    assert [str(column.header) for column in table.columns] == list(moment.cells())
    assert table.row_count == 1


@pytest.mark.parametrize(("text", "limit"), [("", None), ("1", 1), ("500", 500)])
def test_limit(text: str, limit: int | None) -> None:
    assert directories_limit(text) == limit


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "\u0663"])
def test_wrong_limits_are_named(text: str) -> None:
    with pytest.raises(DevclusterError, match="DEMO_LIMIT"):
        directories_limit(text)
