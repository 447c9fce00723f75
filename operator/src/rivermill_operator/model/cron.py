"""Cron expressions of five fields: minute, hour, day of month, month, day of week.

Numbers, ``*``, ranges ``a-b``, steps ``/n`` and lists are understood, names (``MON``) and macros (``@daily``) are not. Sunday
is 0 or 7. As in every cron, a day matches by either of the day fields when both are restricted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")
_SUNDAY = 7


class CronError(ValueError):
    """The expression cannot be understood; the message names the field."""


@dataclass(frozen=True, slots=True)
class Cron:
    """One parsed expression; equal ones have equal ``text``."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Parse five fields.

        Raises:
            CronError: a field is wrong, or the times never come (31 February).
        """
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise CronError(f"{text!r} has {len(fields)} fields: write minute, hour, day of month, month and day of week")
        minutes, hours, days, months, weekdays = (_field(field, *limits) for field, limits in zip(fields, _FIELDS, strict=True))
        weekdays = frozenset(day % _SUNDAY for day in weekdays)
        cron = cls(text, minutes, hours, days, months, weekdays, fields[2].startswith("*"), fields[4].startswith("*"))
        if cron.any_weekday and min(days) > max(_longest(month) for month in months):
            day = min(days)
            raise CronError(
                f"{text!r} never comes, for none of its months has a day {day}: write an earlier day, or another month"
            )
        return cron

    def active(self, now: datetime, zone: tzinfo, duration: timedelta) -> bool:
        """Whether a window of ``duration`` that began at one of the times is open at ``now`` (aware).

        Times that a clock change skips begin when it is over; times that it repeats begin once, the first time.
        """
        day = now.astimezone(zone).date()
        # A day more, since a day may have 25 hours and another date elsewhere.
        for _ in range(duration.days + 3):
            if self._has_day(day.month, day.day, day.isoweekday() % _SUNDAY):
                for hour in sorted(self.hours, reverse=True):
                    for minute in sorted(self.minutes, reverse=True):
                        begin = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                        if begin <= now:
                            return now < begin + duration
            day -= timedelta(days=1)
        return False

    def _has_day(self, month: int, day: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        if self.any_day or self.any_weekday:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise CronError(f"{name} {text!r}: {part!r} is not *, a number, a range a-b or a step */n")
        first, last, step = (int(group) if group else None for group in match.groups())
        if first is None:
            first, last = low, high
        elif last is None:
            last = first if step is None else high
        if not low <= first <= last <= high:
            raise CronError(f"{name} {text!r}: {part!r} is not within {low} to {high}, from low to high")
        if step == 0:
            raise CronError(f"{name} {text!r}: a step of 0 never ends: write 1 or more")
        values.update(range(first, last + 1, step or 1))
    return frozenset(values)


def _longest(month: int) -> int:
    return 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31  # noqa: PLR2004 - the calendar
