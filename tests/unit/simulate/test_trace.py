"""A user's own jobs as a workload."""

from __future__ import annotations

from pathlib import Path

import pytest

from rivermill_operator.simulate.catalog import POD_STARTS
from rivermill_operator.simulate.trace import Fleet, Past, TraceError, build, read_csv

WARM = POD_STARTS["warm"]


def test_columns_in_any_order_with_defaults(tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(
        "queue,seconds,due,priority,known\nemails,1.5,2026-01-01T00:01:00Z,2,2026-01-01T00:00:30+00:00\n,3,1767225600,,\n"
    )
    midnight = 1767225600.0
    assert read_csv(file) == [
        Past(midnight + 60, 1.5, "emails", 2, midnight + 30),
        Past(midnight, 3.0, "default", 1, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("due\n1\n", "jobs.csv: due and seconds are needed"),
        ("due,seconds,colour\n", "column 'colour' is not known"),
        ("due,seconds\nsoon,1\n", "line 2: due 'soon': write seconds such as 12.5, or a time"),
        ("due,seconds\n1,inf\n", "line 2: seconds 'inf'"),
        ("due,seconds\n1,-2\n", "line 2: seconds -2: a job cannot"),
        ("due,seconds,priority\n1,2,5\n", "line 2: priority '5': use 1"),
        ("due,seconds\n1\n", "line 2: seconds None"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(text)
    with pytest.raises(TraceError) as caught:
        read_csv(file)
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(TraceError, match="/nowhere: "):
        read_csv(Path("/nowhere"))


def test_jobs_become_a_workload_that_begins_a_minute_before() -> None:
    jobs = [Past(1000.0, 5.0, "b"), Past(1010.0, 1.0, "a", 3, 900.0), Past(1020.0, 1.0, "a", 1, 5000.0)]
    made = build("mine", jobs, Fleet(goal=20.0, goals={"b": 60.0}, slots=4, max_replicas=9), WARM)
    assert [(q.name, q.target_wait_seconds, q.max_workers) for q in made.queues] == [("a", 20.0, 4), ("b", 60.0, 4)]
    assert list(made.trace.due) == [60.0, 70.0, 80.0]
    assert list(made.trace.known) == [60.0, -40.0, 80.0], "nobody knows of a job only after it was due"
    assert (made.horizon, made.max_replicas) == (680.0, 9)


@pytest.mark.parametrize(
    ("jobs", "goals", "message"),
    [([], {}, "there is no job in it"), ([Past(0.0, 1.0, "a")], {"b": 1.0}, "'b': no job is in it")],
)
def test_nothing_to_simulate_is_said(jobs: list[Past], goals: dict[str, float], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        build("mine", jobs, Fleet(goals=goals), WARM)
