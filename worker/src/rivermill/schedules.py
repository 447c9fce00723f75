"""When periodic jobs are due: at intervals, by cron expressions, or by whatever a program makes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from rivermill.errors import ConfigError


@runtime_checkable
class Schedule(Protocol):
    """Says when a periodic job is due. Mirrors River's ``PeriodicSchedule``."""

    def next(self, after: datetime) -> datetime | None:
        """The first aware time later than ``after``, itself aware, at which the job is due; None is never."""
        ...


def next_turn(schedule: Schedule, after: datetime) -> datetime | None:
    """When a schedule, which may be the application's own, is due next; None is never.

    Args:
        schedule: what is asked.
        after: an aware time.

    Raises:
        ValueError: it makes no aware time later than ``after``.
        Exception: whatever the schedule raises.
    """
    at = schedule.next(after)
    if at is not None and (not isinstance(at, datetime) or at.tzinfo is None or at <= after):
        raise ValueError(f"it returned {at!r}, which is no aware datetime later than {after!r}")
    return at


@dataclass(frozen=True, slots=True)
class Interval:
    """Due again and again after the same time. Mirrors ``PeriodicInterval``.

    Raises:
        ConfigError: the time is not above zero.
    """

    every: timedelta

    def __post_init__(self) -> None:
        if not isinstance(self.every, timedelta) or self.every <= timedelta(0):
            raise ConfigError(f"interval {self.every!r}: use a timedelta above zero, such as timedelta(minutes=5)")

    def next(self, after: datetime) -> datetime:
        """The time one interval after ``after``."""
        return after + self.every


@dataclass(frozen=True, slots=True)
class Never:
    """Never due. Mirrors ``NeverSchedule``."""

    def next(self, after: datetime) -> None:  # noqa: ARG002 - every schedule is asked the same
        """Never."""
        return
