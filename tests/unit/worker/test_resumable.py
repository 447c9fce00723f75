"""Steps: what an attempt skips, runs and records, by what the attempt before has recorded; and what cannot be recorded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from rivermill import Job, JobFailure, JobRow, JobState, ValidationError
from rivermill.outcome import encode_updates
from rivermill.resumable import Steps

STEP, CURSOR = "river:resumable_step", "river:resumable_cursor"


def _attempt(metadata: Mapping[str, Any], names: str, fails: str = "") -> tuple[list[tuple[str, Any]], str, dict[str, Any]]:
    """An attempt whose steps set their own name as cursor; the steps it ran with their cursors, its error, its metadata."""
    heard: list[dict[str, Any]] = [{}]
    steps: Steps = Steps(metadata, lambda: heard.append(steps.progress()))
    ran = []
    error: BaseException | None = None
    try:
        for name in names:
            with steps.step(name) as step:
                if step.needed:
                    ran.append((name, step.cursor))
                    step.set_cursor(name)
                    if name == fails:
                        raise JobFailure("failed")
    except JobFailure as failure:
        error = failure
    error, updates = steps.end(error)
    assert updates == (heard[-1] if error else {}), "whoever hears of each change knows what a failure records"
    return ran, str(error or ""), updates


@pytest.mark.parametrize(
    ("metadata", "names", "fails", "ran", "updates"),
    [
        ({}, "abc", "", [("a", None), ("b", None), ("c", None)], {}),
        ({}, "abc", "a", [("a", None)], {CURSOR: {"a": "a"}}),
        ({}, "abc", "c", [("a", None), ("b", None), ("c", None)], {CURSOR: {"c": "c"}, STEP: "b"}),
        ({STEP: "a"}, "abc", "", [("b", None), ("c", None)], {}),
        ({STEP: "c"}, "abc", "", [], {}),
        ({STEP: "a", CURSOR: {"b": 7}}, "abc", "c", [("b", 7), ("c", None)], {CURSOR: {"c": "c"}, STEP: "b"}),
        ({STEP: "a", CURSOR: {"a": 7}}, "ab", "", [("a", 7), ("b", None)], {}),
        ({CURSOR: {"b": 7}}, "ab", "b", [("a", None), ("b", 7)], {CURSOR: {"b": "b"}, STEP: "a"}),
        ({STEP: 5, CURSOR: 5}, "a", "", [("a", None)], {}),
    ],
)
def test_an_attempt_goes_on_behind_the_last(
    metadata: dict[str, Any], names: str, fails: str, ran: list[tuple[str, Any]], updates: dict[str, Any]
) -> None:
    assert _attempt(metadata, names, fails) == (ran, "failed" if fails else "", updates)


@pytest.mark.parametrize(
    ("metadata", "names", "updates"),
    [({STEP: "x"}, "ab", {}), ({STEP: "x"}, "", {}), ({CURSOR: {"x": 1}}, "ab", {})],
)
def test_progress_in_a_step_that_is_gone_is_a_failure_and_kept(metadata: Any, names: str, updates: dict[str, Any]) -> None:
    _, error, recorded = _attempt(metadata, names)
    assert "'x'" in error
    assert recorded == updates


def test_progress_counts_once_a_step_that_has_a_cursor_is_reached() -> None:
    heard: list[dict[str, Any]] = []
    steps: Steps = Steps({CURSOR: {"b": 7}}, lambda: heard.append(steps.progress()))
    with steps.step("a"):
        pass
    assert heard == [{}]
    with steps.step("b"):
        assert heard == [{}, {STEP: "a"}]


def test_a_consumed_cursor_is_cleared() -> None:
    steps = Steps({STEP: "a", CURSOR: {"b": 7}})
    for name in "ab":
        with steps.step(name):
            pass
    error = JobFailure("later")
    assert steps.end(error) == (error, {STEP: "b", CURSOR: None})


def test_names_are_unique_and_steps_flat() -> None:
    steps = Steps({})
    with steps.step("a") as step, pytest.raises(ValidationError, match="nested"):
        steps.step("b")
    with pytest.raises(ValidationError, match="name of its own"):
        steps.step("a")
    with pytest.raises(ValidationError, match="only while its step runs"):
        step.set_cursor(1)


@pytest.mark.parametrize(("name", "message"), [("\udcff", "cannot be encoded"), ("a\0b", "a NUL character")])
def test_a_name_that_cannot_be_stored_is_refused_where_it_is_given(name: str, message: str) -> None:
    steps = Steps({})
    with pytest.raises(ValidationError, match=f"a step's name.*{message}"):
        steps.step(name)
    with steps.step("a"):
        pass
    error = JobFailure("later")
    assert steps.end(error) == (error, {STEP: "a"})


@pytest.mark.parametrize("key", ["\udcff", "a\0b"])
def test_a_metadata_key_that_cannot_be_stored_is_refused_where_it_is_given(key: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    job = Job(None, JobRow(1, "note", "default", JobState.RUNNING, {}, 1, 25, 1, at, at))
    with pytest.raises(ValidationError, match="metadata key"):
        job.set_metadata(key, 1)
    job.set_metadata("\N{SNOWMAN}", 1)
    assert encode_updates(job.state.updates) == '{"\N{SNOWMAN}":1}'


@pytest.mark.parametrize(
    ("cursor", "message"), [(object(), "cannot be encoded"), ("\ud800", "cannot be encoded"), ("a\0b", "a NUL character")]
)
def test_a_cursor_that_cannot_be_stored_is_refused_where_it_is_set(cursor: Any, message: str) -> None:
    steps = Steps({})
    with steps.step("a") as step, pytest.raises(ValidationError, match=message):
        step.set_cursor(cursor)
    error = JobFailure("later")
    assert steps.end(error) == (error, {STEP: "a"})


def test_a_cursor_is_what_it_was_when_it_was_set() -> None:
    steps, cursor = Steps({}), [1]
    with steps.step("a") as step:
        step.set_cursor(cursor)
        cursor.append(2)
        error = JobFailure("now")
        assert steps.end(error) == (error, {CURSOR: {"a": [1]}})


def test_a_checkpoint_is_recorded_by_its_transaction_alone() -> None:
    heard: list[dict[str, Any]] = []
    steps: Steps = Steps({}, lambda: heard.append(steps.progress()))
    error = JobFailure("later")
    with steps.step("a"):
        pass
    with steps.step("b") as step:
        step.set_cursor(1)
        assert heard[-1] == {STEP: "a", CURSOR: {"b": 1}}
        kept = steps.checkpoint(None)
        assert kept == {STEP: "b", CURSOR: {"b": 1}}
        steps.keep(kept)
        assert heard[-1] == {}
        assert steps.end(error) == (error, {})
        assert steps.checkpoint(2) == {STEP: "b", CURSOR: {"b": 2}}  # rolled back
        assert steps.end(error) == (error, {})
        step.set_cursor(3)
        assert steps.end(error) == (error, {CURSOR: {"b": 3}})
    assert steps.end(error) == (error, {CURSOR: None, STEP: "b"})


def test_a_checkpoint_without_a_cursor_ends_older_ones() -> None:
    steps = Steps({STEP: "a"})
    for name in "ab":
        with steps.step(name) as step:
            if step.needed:
                assert steps.checkpoint(None) == {STEP: "b", CURSOR: None}


def test_a_checkpoint_needs_a_step_that_runs() -> None:
    steps = Steps({STEP: "a"})
    with pytest.raises(ValidationError, match="no step runs"):
        steps.checkpoint(None)
    with steps.step("a"), pytest.raises(ValidationError, match="no step runs"):
        steps.checkpoint(1)
    steps = Steps({CURSOR: {"b": 1}})
    with steps.step("a"), pytest.raises(ValidationError, match="step 'b', which has a cursor, must come first"):
        steps.checkpoint(1)


def test_a_cursor_needs_a_step_that_ends() -> None:
    with pytest.raises(ValidationError, match=r"step 'a': write `with job.step\('a'\) as step:`"):
        Steps({}).step("a").set_cursor(5)
