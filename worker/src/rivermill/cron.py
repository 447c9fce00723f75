"""Cron expressions that mean the same to Rivermill as to programs in Go, which read them with robfig/cron. Pure.

The fields are checked here by robfig's rules and given to cronsim in a spelling that leaves it no choice; cronsim then walks
the times of a clock that knows no zone. Which moments those are in a zone, when its clocks are moved, is decided here:
a time that the clock skips is no moment, and a time that it shows twice is two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from rivermill.durations import parse_duration
from rivermill.errors import ConfigError

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)\s+(.*)", re.DOTALL)
_ITEM = re.compile(r"(?:[*?]|([0-9]+|[a-z]+)(?:-([0-9]+|[a-z]+))?)(?:/([0-9]+))?")
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


class Cron:
    """Due as a cron expression says, read as robfig/cron's ``ParseStandard`` reads it.

    River takes a schedule of that library's as a ``PeriodicSchedule``.

    Five fields: minute, hour, day of month, month, day of week, each ``*``, ``?``, a number or a name (``jan``, ``mon``), a
    range, a step (``*/15``, ``5/15``, ``9-17/2``) or a list of these. Sunday is 0. With both days restricted either one
    suffices; ``*/2`` is a restriction. Or ``@yearly``, ``@annually``, ``@monthly``, ``@weekly``, ``@daily``, ``@midnight``,
    ``@hourly`` and ``@every 1h30m`` (whole seconds). ``CRON_TZ=Europe/Berlin`` before an expression names its zone.

    Args:
        expression: the expression.
        zone: the zone whose clock counts, if the expression names none; None is that of the process, as in Go.

    Raises:
        ConfigError: the expression or its zone is wrong.
    """

    __slots__ = ("_every", "_fields", "expression", "zone")

    def __init__(self, expression: str, zone: tzinfo | None = None) -> None:
        if not isinstance(expression, str):
            raise ConfigError(f"cron expression {expression!r}: use a text such as '0 9 * * mon'")
        if zone is not None and not isinstance(zone, tzinfo):
            raise ConfigError(f"cron expression {expression!r}, zone {zone!r}: use a tzinfo, such as ZoneInfo('Europe/Berlin')")
        self.expression = expression
        named = _ZONE.fullmatch(expression)
        self.zone = _zone(named[1], expression) if named else zone
        text = (named[2] if named else expression).strip()
        self._every: timedelta | None = None
        self._fields = ""
        if text.startswith(_EVERY):
            self._every = _interval(text.removeprefix(_EVERY), expression)
        else:
            self._fields = _normalised(_DESCRIPTORS.get(text, text), expression)

    def __repr__(self) -> str:
        return f"Cron({self.expression!r})" if self.zone is None else f"Cron({self.expression!r}, zone={self.zone})"

    def next(self, after: datetime) -> datetime | None:
        """The first due time later than the aware time ``after``, in UTC; None is never, as for a 30 February."""
        after = after.astimezone(UTC)
        if self._every is not None:
            return after.replace(microsecond=0) + self._every
        # Where the clock goes back soon, it shows times again that are over now.
        back = _offset(after + timedelta(days=1), self.zone) - _offset(after, self.zone)
        found: datetime | None = None
        for wall in _walls(self._fields, _wall(after, self.zone) + min(back, timedelta(0))):
            moments = [_moment(wall, self.zone, fold) for fold in (0, 1)]
            if found is not None and moments[0] >= found:
                break
            later = [moment for moment in moments if moment > after and _wall(moment, self.zone) == wall]
            found = min([*later, found] if found else later, default=None)
        return found


def _walls(fields: str, start: datetime) -> Iterator[datetime]:
    try:
        yield from CronSim(fields, start)
    except CronSimError:  # all values are in their ranges, so no month has such a day
        return


def _wall(at: datetime, zone: tzinfo | None) -> datetime:
    """What the zone's clock shows."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(at: datetime, zone: tzinfo | None) -> timedelta:
    return _wall(at, zone) - at.replace(tzinfo=None)


def _moment(wall: datetime, zone: tzinfo | None, fold: int) -> datetime:
    """When the zone's clock shows this for the first or the second time; if it never does, a moment near."""
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _zone(name: str, expression: str) -> tzinfo:
    try:
        return UTC if name in ("", "UTC") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"cron expression {expression!r}: there is no time zone {name!r} here; use a name such as Europe/Berlin, and "
            "install tzdata if the system has no zones"
        ) from None


def _interval(text: str, expression: str) -> timedelta:
    if not text[-1:].isalpha():
        raise ConfigError(f"cron expression {expression!r}: give the interval a unit, as in @every 90s or @every 1h30m")
    every = parse_duration(f"cron expression {expression!r}: interval", text)
    return max(_SECOND, timedelta(seconds=int(every.total_seconds())))


def _normalised(text: str, expression: str) -> str:
    """The five fields so that every cron takes them for the same, or an error that says what is wrong."""
    parts = text.lower().split()
    if len(parts) != len(_FIELDS) or text.startswith("@"):
        raise ConfigError(
            f"cron expression {expression!r}: use five fields (minute, hour, day of month, month, day of week), "
            f"{', '.join(_DESCRIPTORS)} or @every 1h30m"
        )
    try:
        return " ".join(_field(one, part) for one, part in zip(_FIELDS, parts, strict=True))
    except ValueError as error:
        raise ConfigError(f"cron expression {expression!r}: {error}") from None


def _field(one: _Field, text: str) -> str:
    """A field's list, ``*`` as soon as one item of it is; raises ValueError."""
    items = [_item(one, item) for item in text.split(",")]
    return "*" if "*" in items else ",".join(items)


def _item(one: _Field, text: str) -> str:
    match = _ITEM.fullmatch(text)
    step = int(match[3] or 1) if match else 0
    if match is None or step == 0:
        raise ValueError(f"{one.name} {text!r}: use *, a value, a range such as 1-5, or one of these with a step such as */2")
    if match[1] is None:
        low, high = one.low, one.high
        if step == 1:
            return "*"
    else:
        low = _value(one, match[1])
        # A value with a step goes on to the end.
        end = one.high if match[3] else low
        high = _value(one, match[2]) if match[2] else end
    if high < low:
        raise ValueError(f"{one.name} {text!r}: the range ends before it begins")
    return str(low) if low == high else f"{low}-{high}/{step}"


def _value(one: _Field, text: str) -> int:
    value = one.names.get(text, -1) if text.isalpha() else int(text)
    if not one.low <= value <= one.high:
        also = f" or a name such as {next(iter(one.names))}" if one.names else ""
        raise ValueError(f"{one.name} {text!r}: use {one.low} to {one.high}{also}")
    return value
