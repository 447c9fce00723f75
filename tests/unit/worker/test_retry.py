"""When a failed job runs again, if whoever says so is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import JobRow, JobState
from rivermill.retry import next_retry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = JobRow(7, "scan", "default", JobState.RUNNING, {}, 1, 25, 1, NOW, NOW)


@pytest.mark.parametrize("chosen", [None, datetime(2030, 1, 1), timedelta(hours=1), "soon"])  # noqa: DTZ001 - that is what is wrong
def test_what_is_no_aware_time_is_named_and_rivers_schedule_used(caplog: pytest.LogCaptureFixture, chosen: Any) -> None:
    before = datetime.now(UTC)
    due = next_retry(None, ROW, lambda _: chosen, before)
    assert before < due < datetime.now(UTC) + timedelta(seconds=2)
    said = f"retry_policy returned {chosen!r}, which is no aware datetime, such as datetime.now(UTC)"
    assert f"next retry of job 7 of kind scan failed: {said}" in caplog.text


def test_an_aware_time_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    due = NOW + timedelta(hours=1)
    assert next_retry(None, ROW, lambda _: due, NOW) == due
    assert caplog.text == ""
