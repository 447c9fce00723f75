"""Limits of queues as settings and the command line write them: ``5``, ``1:args.customer_id``, ``100/1s:kind``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rivermill.config_values import by_queue
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError, ValidationError
from rivermill.limits import Concurrency, RateLimit

_ARG = "args."
_T = TypeVar("_T")


def parse_concurrency(name: str, value: Any) -> Concurrency:
    """Jobs at once in all clients together, e.g. ``5``; of each part of the queue, e.g. ``1:args.customer_id+kind``.

    Args:
        name: what to call it in errors.
        value: the text, or a number.

    Raises:
        ConfigError: it is not that.
    """
    limit, by_kind, by_args = _split(name, value)
    try:
        return Concurrency(_count(name, value, limit), by_kind=by_kind, by_args=by_args)
    except ValidationError as error:
        raise ConfigError(f"{name} {value!r}: {error}") from None


def parse_rate(name: str, value: Any) -> RateLimit:
    """Starts in a period, e.g. ``100/1s``; of each part of the queue, e.g. ``100/1s:args.customer_id+kind``.

    Args:
        name: what to call it in errors.
        value: the text.

    Raises:
        ConfigError: it is not that.
    """
    text, by_kind, by_args = _split(name, value)
    limit, slash, period = text.partition("/")
    if not slash:
        raise ConfigError(f"{name} {value!r}: write starts/period, e.g. 100/1s")
    count = _count(name, value, limit)
    try:
        return RateLimit(count, parse_duration("the period", period), by_kind=by_kind, by_args=by_args)
    except (ConfigError, ValidationError) as error:
        raise ConfigError(f"{name} {value!r}: {error}; write starts/period, e.g. 100/1s") from None


def read_concurrency_limits(name: str, value: Any) -> Mapping[str, Concurrency]:
    """``queue:limit,…``, or a mapping; each limit is as in ``parse_concurrency``."""
    return _read(name, value, parse_concurrency)


def read_rate_limits(name: str, value: Any) -> Mapping[str, RateLimit]:
    """``queue:starts/period,…``, or a mapping; each limit is as in ``parse_rate``."""
    return _read(name, value, parse_rate)


def _read(name: str, value: Any, parse: Callable[[str, Any], _T]) -> dict[str, _T]:
    if isinstance(value, Mapping):
        return {str(queue): parse(f"{name}.{queue}", limit) for queue, limit in value.items()}
    if not isinstance(value, str):
        raise ConfigError(f"{name} {value!r}: write queue:limit,…, or a mapping of queues to limits")
    pairs = (_split_queue(name, part) for part in value.split(","))
    return by_queue(name, ((queue, parse(f"{name}, queue {queue!r},", limit)) for queue, limit in pairs))


def _split_queue(name: str, part: str) -> tuple[str, str]:
    queue, colon, limit = part.strip().partition(":")
    if not colon:
        raise ConfigError(f"{name} part {part!r}: write queue:limit")
    return queue, limit


def _split(name: str, value: Any) -> tuple[str, bool, bool | tuple[str, ...]]:
    """The limit without its partition, and that: by kind, and by which args."""
    text, colon, partition = str(value).partition(":")
    parts = set(partition.split("+")) if colon else set()
    args = tuple(sorted(part.removeprefix(_ARG) for part in parts if part.startswith(_ARG)))
    unknown = sorted(part for part in parts - {"kind", "args"} if not part.startswith(_ARG))
    if unknown or ("args" in parts and args):
        raise ConfigError(f"{name} {value!r}: partition by kind, by args or by args.NAME, with + between several")
    return text, "kind" in parts, args or "args" in parts


def _count(name: str, value: Any, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name} {value!r}: the limit {text!r} is no whole number, such as 5") from None
