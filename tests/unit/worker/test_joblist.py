"""Cursors and the rules of job lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rivermill import JobListCursor, JobListOrder, JobListParams, JobState, ValidationError
from rivermill.schema import Schema


@pytest.mark.parametrize(
    ("cursor", "text"),
    [
        (
            JobListCursor(1, "conformance_echo", "default", JobListOrder.ID, None),
            (
                "eyJpZCI6MSwia2luZCI6ImNvbmZvcm1hbmNlX2VjaG8iLCJxdWV1ZSI6ImRlZmF1bHQiLCJzb3J0X2ZpZWxkIjoiaWQiLCJ0aW1lIjoiMDAwMS0wMS0wMV"
                "QwMDowMDowMFoifQ=="
            ),
        ),
        (
            JobListCursor(
                2, "conformance_echo", "other", JobListOrder.SCHEDULED_AT, datetime(2031, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
            ),
            (
                "eyJpZCI6Miwia2luZCI6ImNvbmZvcm1hbmNlX2VjaG8iLCJxdWV1ZSI6Im90aGVyIiwic29ydF9maWVsZCI6InNjaGVkdWxlZF9hdCIsInRpbWUiOiIyMD"
                "MxLTAyLTAzVDA0OjA1OjA2Ljc4OVoifQ=="
            ),
        ),
    ],
)
def test_cursors_are_gos(cursor: JobListCursor, text: str) -> None:
    assert cursor.encode() == text
    assert JobListCursor.decode(text) == cursor


@pytest.mark.parametrize("text", ["", "nonsense", "e30=", "eyJpZCI6MX0="])
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(ValidationError, match="cursor"):
        JobListCursor.decode(text)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, None),
        ({"order_by": JobListOrder.TIME}, "scheduled_at"),
        ({"order_by": JobListOrder.TIME, "states": [JobState.RUNNING, JobState.COMPLETED]}, "attempted_at"),
        ({"order_by": JobListOrder.TIME, "states": [JobState.COMPLETED]}, "finalized_at"),
        ({"order_by": JobListOrder.FINALIZED_AT}, "finalized_at"),
        ({"order_by": JobListOrder.SCHEDULED_AT, "states": [JobState.COMPLETED]}, "scheduled_at"),
    ],
)
def test_the_time_is_that_of_the_first_state(params: dict[str, Any], field: str | None) -> None:
    assert JobListParams(**params).time_field == field


def test_ordering_by_the_end_needs_states_that_have_one() -> None:
    assert JobListParams(order_by=JobListOrder.FINALIZED_AT).states == (
        JobState.CANCELLED, JobState.COMPLETED, JobState.DISCARDED,
    )  # fmt: skip
    with pytest.raises(ValidationError, match="leave out states"):
        JobListParams(order_by=JobListOrder.FINALIZED_AT, states=[JobState.RUNNING])


def test_values_are_parameters() -> None:
    sql, values = JobListParams(kinds=["'; DROP"], tags_all=["abc"], metadata={"a": 1}).statement(Schema("s"), "id")
    assert "DROP" not in sql
    assert values == [100, ["'; DROP"], ["abc"], '{"a":1}']


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metadata": "[1]"}, "metadata cannot be encoded as a JSON object"),
        ({"metadata": {"a": object()}}, "metadata cannot be encoded as a JSON object"),
        ({"metadata": {"a": "\0"}}, "metadata: there is a NUL character"),
        ({"states": ["runing"]}, "states 'runing': use available, cancelled, "),
    ],
)
def test_what_can_be_no_filter_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JobListParams(**params)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"kinds": "mist"}, r"^kinds 'mist': pass a list, e.g. \['mist'\]$"),
        ({"tags_all": "x"}, r"tags_all 'x': pass a list"),
        ({"tags_any": "x"}, r"tags_any 'x': pass a list"),
        ({"ids": 7}, r"ids 7: pass a list, e.g. \[7\]"),
        ({"states": "available"}, "states 'available': pass a list"),
        ({"order_by": "age"}, "order_by 'age': use JobListOrder with one of id, finalized_at, scheduled_at, time"),
        ({"after": "eyJ"}, "after 'eyJ': use a JobListCursor"),
        ({"limit": "5"}, "limit '5': use 1 to 10000"),
    ],
)
def test_wrong_types_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        JobListParams(**params)


def test_an_order_may_be_its_text() -> None:
    assert JobListParams(order_by="time").time_field == "scheduled_at"  # type: ignore[arg-type]
