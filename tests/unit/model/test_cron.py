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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("* * * *", "'* * * *' has 4 fields: write minute, hour, day of month, month and day of week"),
        ("@daily", "'@daily' has 1 fields: write minute, hour"),
        ("60 * * * *", "minute '60': '60' is not within 0 to 59, from low to high"),
        ("5-1 * * * *", "minute '5-1': '5-1' is not within 0 to 59, from low to high"),
        ("*/0 * * * *", "minute '*/0': a step of 0 never ends: write 1 or more"),
        ("0 a * * *", "hour 'a': 'a' is not *, a number, a range a-b or a step */n"),
        ("0 0 31 2 *", "'0 0 31 2 *' never comes, for none of its months has a day 31: write an earlier day, or another month"),
        ("0 0 31 4,6,9,11 *", "never comes"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron.parse(text)
    assert message in str(caught.value)
