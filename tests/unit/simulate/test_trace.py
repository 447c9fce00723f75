"""A user's own jobs as a workload."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rivermill_operator.simulate.catalog import POD_STARTS
from rivermill_operator.simulate.trace import Fleet, Past, TraceError, build, read_csv

WARM = POD_STARTS["warm"]


def test_columns_in_any_order_with_defaults(tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(
        "queue,seconds,due,priority,known\nemails,1.5,2026-01-01T00:01:00Z,2,2026-01-01T00:00:30+00:00\n,3,2026-01-01T01:00:00+01:00,,\n"
    )
    midnight = 1767225600.0
    assert read_csv(file) == [
        Past(midnight + 60, 1.5, "emails", 2, midnight + 30),
        Past(midnight, 3.0, "default", 1, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("due\n1\n", "jobs.csv: columns due and seconds are needed"),
        ("due,seconds,colour\n", "column 'colour' is not known"),
        ("due,seconds\nsoon,1\n", "line 2: due 'soon': write seconds such as 12.5, or a time"),
        ("due,seconds\n12:00,1\n", "line 2: due '12:00': write seconds such as 12.5, or a time"),
        ("due,seconds\n1,inf\n", "line 2: seconds 'inf': write how long"),
        ("due,seconds\n1,2026-01-01\n", "line 2: seconds '2026-01-01': write how long"),
        ("due,seconds\n1,-2\n", "line 2: seconds '-2': a job cannot"),
        ("due,seconds,priority\n1,2,5\n", "line 2: priority '5': use 1"),
        ("due,seconds\n1\n", "line 2: seconds ''"),
        ("due,seconds\n1,2,3\n", "line 2: there are more values than columns"),
        ("due,seconds,due\n1,2,3\n", "column 'due' is there twice"),
        ("due;seconds\n1;2\n", "column 'due;seconds' is not known; the first line names the columns, of due, seconds, queue, "),
        (
            "due,seconds\n2026-01-31T12:00:00Z,1\n\n3,1\n",
            "line 4: due '3' is in seconds, but due '2026-01-31T12:00:00Z' of line 2 is a time with zone; write due and known",
        ),
        (
            "due,seconds,known\n2026-01-31T12:00:00Z,1,2026-01-31T11:00\n",
            "line 2: known '2026-01-31T11:00' is a time without zone, but due '2026-01-31T12:00:00Z' of line 2 is a",
        ),
        (
            "due,seconds,known\n1,1,\n2,1,3\n",
            "line 3: known '3' is after due '2'; known is when the job was inserted: leave it",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_csv(file)
    assert message in str(caught.value)


def test_times_without_a_zone_are_in_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        file = tmp_path / "jobs.csv"
        file.write_text("due,seconds\n2026-01-01 00:00,1\n")
        assert read_csv(file) == [Past(1767225600.0, 1.0)]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_spreadsheets_write_is_read(tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_bytes("\ufeffdue, seconds, queue\r\n1, 2, emails \r\n".encode())
    assert read_csv(file) == [Past(1.0, 2.0, "emails")]


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    for file, message in ((tmp_path / "no.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(TraceError) as caught:
            read_csv(file)
        assert str(caught.value) == f"{file}: {message}"
    (tmp_path / "latin.csv").write_bytes(b"due,seconds,queue\n1,2,caf\xe9\n")
    with pytest.raises(TraceError, match=r"latin\.csv: .*; save it as UTF-8"):
        read_csv(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "0,1\n1767225600,5\n",
            "line 3 (due '1767225600', seconds '5') ends 20,454 days after line 2 (due '0', seconds '1'), and at most 8 days",
        ),
        ("0,1\n1,86400000\n", "mine.csv: line 3 (due '1', seconds '86400000') ends 1,000 days after line 2"),
        (
            "2026-01-31,1\n0001-01-01,1\n",
            "line 2 (due '2026-01-31', seconds '1') ends 739,646 days after line 3 (due '0001-01-01'",
        ),
    ],
)
def test_a_span_that_would_take_hours_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(f"due,seconds\n{lines}")
    with pytest.raises(TraceError) as caught:
        build("mine", "mine.csv", read_csv(file), Fleet(), WARM)
    assert message in str(caught.value)


def test_a_week_can_be_simulated() -> None:
    week = 7 * 86400.0
    assert build("mine", "mine.csv", [Past(0.0, 1.0), Past(week, 60.0)], Fleet(), WARM).horizon == 60 + week + 60 + 600


def test_jobs_become_a_workload_that_begins_a_minute_before() -> None:
    jobs = [Past(1000.0, 50.0, "b"), Past(1010.0, 1.0, "a", 3, 900.0), Past(1020.0, 1.0, "a", 1)]
    made = build("mine", "mine.csv", jobs, Fleet(goal=20.0, goals={"b": 60.0}, slots=4, max_replicas=9), WARM)
    assert [(q.name, q.target_wait_seconds, q.max_workers) for q in made.queues] == [("a", 20.0, 4), ("b", 60.0, 4)]
    assert list(made.trace.due) == [60.0, 70.0, 80.0]
    assert list(made.trace.known) == [60.0, -40.0, 80.0]
    assert (made.horizon, made.max_replicas) == (710.0, 9), "the job that ends last, though not the last one due, can end"


@pytest.mark.parametrize(
    ("jobs", "goals", "message"),
    [([], {}, "^mine.csv: there is no job in it"), ([Past(0.0, 1.0, "a")], {"b": 1.0}, "'b': no job is in it")],
)
def test_nothing_to_simulate_is_said(jobs: list[Past], goals: dict[str, float], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        build("mine", "mine.csv", jobs, Fleet(goals=goals), WARM)
