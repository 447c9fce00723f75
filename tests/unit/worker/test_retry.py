"""When a failed job runs again, if whoever says so is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import JobRow, JobState
from rivermill.retry import next_retry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = JobRow(7, "scan", "default", JobState.RUNNING, {}, 1, 25, 1, NOW, NOW)


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        (None, "is no aware datetime, such as datetime.now(UTC)"),
        (datetime(2030, 1, 1), "is no aware datetime"),  # noqa: DTZ001 - the mistake
        (timedelta(hours=1), "is no aware datetime"),
        ("soon", "is no aware datetime"),
        (NOW - timedelta(seconds=1), "lies in the past"),
        (datetime.max.replace(tzinfo=UTC), "lies behind the year 9998"),
    ],
)
def test_a_wrong_time_is_named_and_gives_way_to_rivers(caplog: pytest.LogCaptureFixture, chosen: Any, fault: str) -> None:
    before = datetime.now(UTC)
    due = next_retry(None, ROW, lambda _: chosen, NOW)
    assert before < due < datetime.now(UTC) + timedelta(seconds=2)
    (record,) = caplog.records
    assert f"next retry of job 7 of kind scan failed: retry_policy returned {chosen!r}, which {fault}" in record.getMessage()
    assert record.exc_info is None


def test_an_aware_time_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    due = NOW + timedelta(hours=1)
    assert next_retry(None, ROW, lambda _: due, NOW) == due
    assert caplog.text == ""
