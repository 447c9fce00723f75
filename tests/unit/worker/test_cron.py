"""Cron expressions, against what robfig/cron v3.0.1 makes of them in River for Go v0.51.1."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rivermill import ConfigError, Cron, Interval, Never, Schedule

#: Expression => the next five times, in UTC; without a zone of its own it goes by that of the time before it.
GOLDEN = """
from 2026-01-02T03:04:05.6789Z
* * * * * => 26-01-02T03:05 26-01-02T03:06 26-01-02T03:07 26-01-02T03:08 26-01-02T03:09
30 * * * * => 26-01-02T03:30 26-01-02T04:30 26-01-02T05:30 26-01-02T06:30 26-01-02T07:30
0 9 * * 1 => 26-01-05T09:00 26-01-12T09:00 26-01-19T09:00 26-01-26T09:00 26-02-02T09:00
0 9 * * mon => 26-01-05T09:00 26-01-12T09:00 26-01-19T09:00 26-01-26T09:00 26-02-02T09:00
0 0 * * 0 => 26-01-04T00:00 26-01-11T00:00 26-01-18T00:00 26-01-25T00:00 26-02-01T00:00
0 0 * * SUN => 26-01-04T00:00 26-01-11T00:00 26-01-18T00:00 26-01-25T00:00 26-02-01T00:00
*/15 9-17 * * mon-fri => 26-01-02T09:00 26-01-02T09:15 26-01-02T09:30 26-01-02T09:45 26-01-02T10:00
0 0 1 * * => 26-02-01T00:00 26-03-01T00:00 26-04-01T00:00 26-05-01T00:00 26-06-01T00:00
0 0 1 jan,JUL * => 26-07-01T00:00 27-01-01T00:00 27-07-01T00:00 28-01-01T00:00 28-07-01T00:00
0 0 29 2 * => 28-02-29T00:00 32-02-29T00:00 36-02-29T00:00 40-02-29T00:00 44-02-29T00:00
0 0 30 2 * =>
0 12 1,15 * 5 => 26-01-02T12:00 26-01-09T12:00 26-01-15T12:00 26-01-16T12:00 26-01-23T12:00
0 12 * * 5 => 26-01-02T12:00 26-01-09T12:00 26-01-16T12:00 26-01-23T12:00 26-01-30T12:00
0 12 ? * 5 => 26-01-02T12:00 26-01-09T12:00 26-01-16T12:00 26-01-23T12:00 26-01-30T12:00
0 12 */2 * 5 => 26-01-02T12:00 26-01-03T12:00 26-01-05T12:00 26-01-07T12:00 26-01-09T12:00
0 12 */1 * 5 => 26-01-02T12:00 26-01-09T12:00 26-01-16T12:00 26-01-23T12:00 26-01-30T12:00
5/15 * * * * => 26-01-02T03:05 26-01-02T03:20 26-01-02T03:35 26-01-02T03:50 26-01-02T04:05
0-10/5 * * * * => 26-01-02T03:05 26-01-02T03:10 26-01-02T04:00 26-01-02T04:05 26-01-02T04:10
59 23 31 12 * => 26-12-31T23:59 27-12-31T23:59 28-12-31T23:59 29-12-31T23:59 30-12-31T23:59
@hourly => 26-01-02T04:00 26-01-02T05:00 26-01-02T06:00 26-01-02T07:00 26-01-02T08:00
@daily => 26-01-03T00:00 26-01-04T00:00 26-01-05T00:00 26-01-06T00:00 26-01-07T00:00
@midnight => 26-01-03T00:00 26-01-04T00:00 26-01-05T00:00 26-01-06T00:00 26-01-07T00:00
@weekly => 26-01-04T00:00 26-01-11T00:00 26-01-18T00:00 26-01-25T00:00 26-02-01T00:00
@monthly => 26-02-01T00:00 26-03-01T00:00 26-04-01T00:00 26-05-01T00:00 26-06-01T00:00
@yearly => 27-01-01T00:00 28-01-01T00:00 29-01-01T00:00 30-01-01T00:00 31-01-01T00:00
@annually => 27-01-01T00:00 28-01-01T00:00 29-01-01T00:00 30-01-01T00:00 31-01-01T00:00
@every 1h30m => 26-01-02T04:34:05 26-01-02T06:04:05 26-01-02T07:34:05 26-01-02T09:04:05 26-01-02T10:34:05
@every 1.5h => 26-01-02T04:34:05 26-01-02T06:04:05 26-01-02T07:34:05 26-01-02T09:04:05 26-01-02T10:34:05
@every 90s => 26-01-02T03:05:35 26-01-02T03:07:05 26-01-02T03:08:35 26-01-02T03:10:05 26-01-02T03:11:35
@every 500ms => 26-01-02T03:04:06 26-01-02T03:04:07 26-01-02T03:04:08 26-01-02T03:04:09 26-01-02T03:04:10
@every 1500ms => 26-01-02T03:04:06 26-01-02T03:04:07 26-01-02T03:04:08 26-01-02T03:04:09 26-01-02T03:04:10
  0   9 * *   1  => 26-01-05T09:00 26-01-12T09:00 26-01-19T09:00 26-01-26T09:00 26-02-02T09:00
from 2026-03-07T08:00:00-05:00
0 9 * * * => 26-03-07T14:00 26-03-08T14:00 26-03-09T14:00 26-03-10T14:00 26-03-11T14:00
CRON_TZ=UTC 0 9 * * * => 26-03-08T09:00 26-03-09T09:00 26-03-10T09:00 26-03-11T09:00 26-03-12T09:00
TZ=UTC 0 9 * * * => 26-03-08T09:00 26-03-09T09:00 26-03-10T09:00 26-03-11T09:00 26-03-12T09:00
from 2026-03-07T23:45:00+05:30
30 0 * * * => 26-03-07T19:00 26-03-08T19:00 26-03-09T19:00 26-03-10T19:00 26-03-11T19:00
from 2026-03-06T12:00:00Z
CRON_TZ=America/New_York 0 9 * * * => 26-03-06T14:00 26-03-07T14:00 26-03-08T13:00 26-03-09T13:00 26-03-10T13:00
CRON_TZ=America/New_York 30 2 * * * => 26-03-07T07:30 26-03-09T06:30 26-03-10T06:30 26-03-11T06:30 26-03-12T06:30
from 2026-10-30T12:00:00Z
CRON_TZ=America/New_York 30 1 * * * => 26-10-31T05:30 26-11-01T05:30 26-11-01T06:30 26-11-02T06:30 26-11-03T06:30
from 2026-11-01T04:30:00Z
CRON_TZ=America/New_York 0 * * * * => 26-11-01T05:00 26-11-01T06:00 26-11-01T07:00 26-11-01T08:00 26-11-01T09:00
from 2026-10-23T12:00:00Z
CRON_TZ=Europe/London 0 0 * * * => 26-10-23T23:00 26-10-24T23:00 26-10-26T00:00 26-10-27T00:00 26-10-28T00:00
from 2026-09-03T12:00:00Z
CRON_TZ=America/Santiago 0 0 * * * => 26-09-04T04:00 26-09-05T04:00 26-09-07T03:00 26-09-08T03:00 26-09-09T03:00
CRON_TZ=America/Santiago 0 12 * * * => 26-09-03T16:00 26-09-04T16:00 26-09-05T16:00 26-09-06T15:00 26-09-07T15:00
from 2026-04-02T12:00:00Z
CRON_TZ=America/Santiago 30 23 * * * => 26-04-03T02:30 26-04-04T02:30 26-04-05T02:30 26-04-05T03:30 26-04-06T03:30
from 2026-01-02T03:04:05-05:00
TZ=Asia/Kolkata 0 9 * * mon => 26-01-05T03:30 26-01-12T03:30 26-01-19T03:30 26-01-26T03:30 26-02-02T03:30
"""


def golden() -> list[tuple[datetime, str, list[datetime]]]:
    cases, start = [], datetime.now(UTC)
    for line in GOLDEN.strip("\n").splitlines():
        if line.startswith("from "):
            start = datetime.fromisoformat(line.removeprefix("from "))
        else:
            expression, times = line.split(" =>")
            cases.append((start, expression, [datetime.fromisoformat(f"20{time}Z") for time in times.split()]))
    return cases


@pytest.mark.parametrize(("after", "expression", "expected"), golden())
def test_the_next_times_are_those_of_go(after: datetime, expression: str, expected: list[datetime]) -> None:
    schedule = Cron(expression, zone=after.tzinfo)
    found: list[datetime] = []
    at: datetime | None = after
    while len(found) < 5 and (at := schedule.next(at)):
        found.append(at)
    assert found == expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "0 9 * * 7",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "-1 * * * *",
        "5-1 * * * *",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "0 9 * * funday",
        "@every",
        "@every 5x",
        "@reboot",
        "CRON_TZ=Nowhere/Invalid 0 9 * * *",
        # Refused by Go as well, although cronsim knows them.
        "0 0 L * *",
        "0 0 LW * *",
        "0 0 * * 5#2",
        "0 0 * * 5L",
        "@every 5",
        "0 9 * * mon#1",
    ],
)
def test_what_go_refuses_is_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="cron expression"):
        Cron(expression)


@pytest.mark.parametrize(
    ("expression", "means"),
    [
        ("5,* * * * *", "* * * * *"),
        ("0 0 * * 1/2", "0 0 * * 1,3,5"),
        ("3-3/15 * * * *", "3 * * * *"),
        ("0 0 10-31/7,*/30 * mon,5", "0 0 10,17,24,31,1 * 1,fri"),
        ("0 0 ?/1 jan-dec/6 *", "0 0 * 1,7 *"),
    ],
)
def test_spellings_that_mean_the_same(expression: str, means: str) -> None:
    one, other = Cron(expression, UTC), Cron(means, UTC)
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    for _ in range(20):
        first, second = one.next(at), other.next(at)
        assert first == second
        assert first is not None
        at = first


def test_without_a_zone_the_clock_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        schedule = Cron("30 1 * * *")
        at = datetime(2026, 10, 31, 12, tzinfo=UTC)
        found = []
        for _ in range(3):
            following = schedule.next(at)
            assert following is not None
            found.append(at := following)
    finally:
        monkeypatch.undo()
        time.tzset()
    # The clock goes back at 02:00 on 1 November and so shows half past one twice.
    assert [one.strftime("%d %H:%M") for one in found] == ["01 05:30", "01 06:30", "02 06:30"]


def test_times_of_every_zone_are_those_its_clock_shows() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for name in ("Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "America/St_Johns", "Europe/Dublin"):
        zone, moment = ZoneInfo(name), at
        for _ in range(400):
            following = Cron("15 */2 * * *", zone).next(moment)
            assert following is not None
            assert moment < following <= moment + timedelta(hours=5)
            assert following.astimezone(zone).strftime("%M") == "15"
            moment = following


def test_schedules() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert Interval(timedelta(minutes=5)).next(at) == at + timedelta(minutes=5)
    assert Never().next(at) is None
    assert all(isinstance(one, Schedule) for one in (Interval(timedelta(1)), Never(), Cron("@daily")))
    assert repr(Cron("@daily")) == "Cron('@daily')"
    for wrong in (timedelta(0), timedelta(-1), 5):
        with pytest.raises(ConfigError, match="interval"):
            Interval(wrong)  # type: ignore[arg-type]
