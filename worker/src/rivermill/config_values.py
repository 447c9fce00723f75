"""Values of settings: how their texts are read, and which are allowed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, TypeVar

from rivermill.cron import Cron
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError, RivermillError
from rivermill.schedules import Never, Schedule

T = TypeVar("T")

MAX_WORKERS = 10_000
MAX_ATTEMPTS = 32_767
MAX_PRIORITY = 1000
MAX_PORT = 65_535

#: What stands for no time limit, for ever, never and no index.
NONE = "none"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How one process works one queue.

    Args:
        max_workers: slots this process gives to the queue, 1 to 10,000 (River's MaxWorkers).
        priority: share of free slots when there are fewer than the queues could use; higher is more urgent.
        fetch_cooldown: least time between two claims of this queue; None takes the client's.
        poll_interval: longest time between two claims while there is room; None takes the client's.

    Raises:
        ConfigError: a number or a time is out of its range.
    """

    max_workers: int
    priority: int = 1
    fetch_cooldown: timedelta | None = None
    poll_interval: timedelta | None = None

    def __post_init__(self) -> None:
        check_whole("queue max_workers", self.max_workers, 1, MAX_WORKERS)
        check_whole("queue priority", self.priority, 1, MAX_PRIORITY)
        check_duration("queue fetch_cooldown", self.fetch_cooldown)
        check_duration("queue poll_interval", self.poll_interval)


# Each reader takes the name to show in an error, and what was written; it raises ConfigError.


def read_integer(name: str, value: Any, low: int, high: int) -> int:
    """A whole number, or its text."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} {value!r}: use a whole number from {low} to {high}") from None
    check_whole(name, number, low, high)
    return number


def read_boolean(name: str, value: Any) -> bool:
    """``true`` or ``false``, or 1 or 0."""
    known = _BOOLEANS.get(str(value).strip().lower())
    if known is None:
        raise ConfigError(f"{name} {value!r}: use true or false")
    return known


def read_text(name: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} {value!r}: use a text")
    return value


def read_limit(name: str, value: Any) -> timedelta | None:
    """A duration; None for ``none`` and for YAML's null."""
    if is_none(value):
        return None
    try:
        return parse_duration(name, value)
    except ConfigError as error:
        raise ConfigError(f"{error}; or {NONE}") from None


def read_names(name: str, value: Any) -> tuple[str, ...]:
    """Names with commas between them, or a list of names; ``none`` for no name."""
    if is_none(value):
        return ()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise ConfigError(f"{name} {value!r}: use names with commas between them, or {NONE}")
    return tuple(one.strip() for one in names)


def read_schedule(name: str, value: Any) -> Schedule:
    """A cron expression, in UTC unless it names a zone; ``none`` for never."""
    if is_none(value):
        return Never()
    try:
        return Cron(str(value), UTC)
    except ConfigError as error:
        raise ConfigError(f"{name} {value!r}: {error}; or use {NONE}") from None


def read_mapping(where: str, value: Any) -> Mapping[str, Any]:
    """A mapping of YAML."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {value!r} must be a mapping, lines of `name: value`")
    return value


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Raise ConfigError unless it is a whole number of the range."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} {value!r}: use a whole number from {low} to {high}")


def check_duration(name: str, value: Any, *, zero: bool = False) -> None:
    """Raise ConfigError unless it is None or a time above zero, or of zero where that is allowed."""
    wanted = f"use a timedelta {'of zero or more' if zero else 'above zero'}"
    if value is not None and not isinstance(value, timedelta):
        is_seconds = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        raise ConfigError(f"{name} {value!r}: {wanted}, such as timedelta(seconds={value if is_seconds else 60})")
    if value is not None and (value < timedelta(0) or (not value and not zero)):
        raise ConfigError(f"{name} {value}: {wanted}")


def check_switch(name: str, value: Any) -> None:
    """Raise ConfigError unless it is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} {value!r}: use True or False")


def check_mapping(name: str, value: Any, example: str) -> None:
    """Raise ConfigError unless it is a mapping."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} {value!r}: use a dict of queues, such as {example}")


def by_queue(name: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """What a text says of each queue; raises ConfigError if it says something of one twice."""
    found: dict[str, T] = {}
    for queue, value in pairs:
        if queue in found:
            raise ConfigError(f"{name}: queue {queue!r} stands twice; name each queue once")
        found[queue] = value
    return found


def check_list(name: str, value: Any, example: str, *, of: type = object, wrong: type[RivermillError] = ConfigError) -> None:
    """Raise ``wrong`` unless it is a list of this type, or the like; a text would be taken letter by letter."""
    if isinstance(value, str) or not isinstance(value, Collection) or not all(isinstance(one, of) for one in value):
        raise wrong(f"{name} {value!r}: pass a list, e.g. {example}")


def is_none(value: Any) -> bool:
    """Whether it is ``none``, in letters of any case, or YAML's null."""
    return value is None or (isinstance(value, str) and value.strip().lower() == NONE)
