"""Limits of queues: how many jobs run at once, in all clients together and in each, and how many start in a time. Pure.

They are kept in ``river_queue.metadata``: under the key ``concurrency`` in the form in which River UI writes them, and under
``rate_limit``, which is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from rivermill.errors import ValidationError

KEY = "concurrency"
RATE_KEY = "rate_limit"
LIMITED_SQL = f"coalesce('object' IN (jsonb_typeof(metadata -> '{KEY}'), jsonb_typeof(metadata -> '{RATE_KEY}')), false)"
"""Whether the metadata of a row of ``river_queue`` mention limits."""
_MOST = 1_000_000
_SHORTEST, _LONGEST = timedelta(milliseconds=1), timedelta(days=366)
_T = TypeVar("_T")

logger = logging.getLogger("rivermill.limits")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many jobs of a queue run at once; with a partition, how many of each part of it.

    Mirrors River Pro's concurrency limits.

    Args:
        global_limit: in all clients together; None is no limit.
        local_limit: in each client; None is no limit.
        by_kind: jobs of each kind are limited on their own.
        by_args: jobs with the same values of these args are; ``True`` is all args.

    Raises:
        ValidationError: there is no limit, or a value is wrong.
    """

    global_limit: int | None = None
    local_limit: int | None = None
    by_kind: bool = False
    by_args: bool | Sequence[str] = False

    def __post_init__(self) -> None:
        if self.global_limit is None and self.local_limit is None:
            raise ValidationError("concurrency: give global_limit, local_limit or both")
        for name in ("global_limit", "local_limit"):
            value = getattr(self, name)
            if value is not None:
                _check_count(f"concurrency {name}", value)
        _check_names("concurrency by_args", self.by_args)

    def to_metadata(self) -> dict[str, Any]:
        """The value of the key ``concurrency``."""
        partition = _partition(self.by_kind, self.by_args)
        return {"global_limit": self.global_limit or 0, "local_limit": self.local_limit or 0, "partition": partition}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How many jobs of a queue start in each period, in all clients together; with a partition, how many of each part of it.

    Periods follow each other without a gap, and the first began at 1970-01-01 00:00 UTC, by the database's clock: with a
    period of an hour, each whole hour is one. A retry is one more start.

    Args:
        limit: jobs that start in a period, 1 to 1,000,000.
        period: 1 ms to 366 days.
        by_kind: jobs of each kind are limited on their own.
        by_args: jobs with the same values of these args are; ``True`` is all args.

    Raises:
        ValidationError: a value is wrong.
    """

    limit: int
    period: timedelta
    by_kind: bool = False
    by_args: bool | Sequence[str] = False

    def __post_init__(self) -> None:
        _check_count("rate_limit limit", self.limit)
        if not isinstance(self.period, timedelta) or not _SHORTEST <= self.period <= _LONGEST:
            raise ValidationError(f"rate_limit period {self.period!r}: use a timedelta from 1 ms to {_LONGEST.days} days")
        _check_names("rate_limit by_args", self.by_args)

    @property
    def partitioned(self) -> bool:
        """Whether parts of the queue are limited, and not the queue."""
        return bool(self.by_kind or self.by_args)

    def to_metadata(self) -> dict[str, Any]:
        """The value of the key ``rate_limit``."""
        seconds, partition = self.period.total_seconds(), _partition(self.by_kind, self.by_args)
        return {"limit": self.limit, "period_seconds": seconds, "partition": partition}


def read_concurrency(value: Any) -> Concurrency | None:
    """The concurrency that a queue's metadata say; None for no limits, and for what cannot be read as such."""
    return _read(KEY, value, _concurrency)


def read_rate_limit(value: Any) -> RateLimit | None:
    """The rate limit that a queue's metadata say; None for none, and for what cannot be read as such."""
    return _read(RATE_KEY, value, _rate_limit)


def is_limited(metadata: Mapping[str, Any] | Any) -> bool:
    """Whether a queue's metadata mention limits."""
    return isinstance(metadata, Mapping) and any(isinstance(metadata.get(key), Mapping) for key in (KEY, RATE_KEY))


def _read(key: str, value: Any, read: Callable[[Any], _T | None]) -> _T | None:
    if not value:
        return None
    try:
        return read(value)
    except (AttributeError, TypeError, ValueError, OverflowError, ValidationError) as error:
        logger.warning("a queue's %s cannot be read: it limits nothing", key, extra={"error": str(error)})
        return None


def _concurrency(value: Any) -> Concurrency | None:
    by_kind, by_args = _read_partition(value)
    most, here = value.get("global_limit") or None, value.get("local_limit") or None
    return None if most is None and here is None else Concurrency(most, here, by_kind=by_kind, by_args=by_args)


def _rate_limit(value: Any) -> RateLimit:
    by_kind, by_args = _read_partition(value)
    return RateLimit(value.get("limit"), timedelta(seconds=value.get("period_seconds")), by_kind=by_kind, by_args=by_args)


def _read_partition(value: Any) -> tuple[bool, bool | Sequence[str]]:
    partition = value.get("partition") or {}
    by_args = partition.get("by_args")
    if not isinstance(by_args, list | None):
        raise TypeError(f"by_args {by_args!r} is no list")
    return bool(partition.get("by_kind")), False if by_args is None else (tuple(by_args) or True)


def _partition(by_kind: bool, by_args: bool | Sequence[str]) -> dict[str, Any]:
    partition: dict[str, Any] = {}
    if by_kind:
        partition["by_kind"] = True
    if by_args:
        partition["by_args"] = [] if by_args is True else list(by_args)
    return partition


def _check_count(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise ValidationError(f"{what} {value!r}: use a whole number from 1 to {_MOST}")


def _check_names(what: str, names: Any) -> None:
    if not isinstance(names, bool) and (
        isinstance(names, str) or not names or not all(isinstance(n, str) and n for n in names)
    ):
        raise ValidationError(f"{what} {names!r}: use True, or a list of names of args")
