"""The cron matcher: fields, days, time zones, clock changes, mistakes."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rivermill_operator.model.cron import Cron, CronError

BERLIN, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("text", "zone", "minutes", "now", "active"),
    [
        ("0 8 * * 1-5", UTC, 60, "2026-11-25T08:00+00:00", True),
        ("0 8 * * 1-5", UTC, 60, "2026-11-25T08:59:59+00:00", True),
        ("0 8 * * 1-5", UTC, 60, "2026-11-25T09:00+00:00", False),
        ("0 8 * * 1-5", UTC, 60, "2026-11-28T08:30+00:00", False),
        ("0 8 * * 1-5", BERLIN, 60, "2026-11-25T07:30+00:00", True),
        ("30 23 * * *", UTC, 60, "2026-12-01T00:15+00:00", True),
        ("*/15 * * * *", UTC, 5, "2026-11-25T08:34+00:00", True),
        ("*/15 * * * *", UTC, 5, "2026-11-25T08:36+00:00", False),
        ("0 0 13 * 5", UTC, 60, "2026-11-13T00:30+00:00", True),
        ("0 0 13 * 5", UTC, 60, "2026-11-20T00:30+00:00", True),
        ("0 0 13 * 5", UTC, 60, "2026-11-21T00:30+00:00", False),
        ("0 0 * * 7", UTC, 60, "2026-11-22T00:30+00:00", True),
        # 02:30 does not exist on that day, 02:30 comes twice on the other.
        ("30 2 29 3 *", BERLIN, 30, "2026-03-29T01:45+00:00", True),
        ("30 2 25 10 *", BERLIN, 30, "2026-10-25T00:45+00:00", True),
        ("30 2 25 10 *", BERLIN, 30, "2026-10-25T01:45+00:00", False),
    ],
)
def test_windows(text: str, zone: ZoneInfo, minutes: int, now: str, active: bool) -> None:
    assert Cron.parse(text).active(datetime.fromisoformat(now), zone, timedelta(minutes=minutes)) is active


@pytest.mark.parametrize("text", ["* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "0 0 31 2 *", "@daily"])
def test_mistakes(text: str) -> None:
    with pytest.raises(CronError):
        Cron.parse(text)
