"""A decision's inputs as JSON and back, so that a decision can be made again: same inputs, same plan."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from rivermill_operator.model.cron import Cron
from rivermill_operator.model.observed import Observed
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan.decide import plan
from rivermill_operator.plan.plan import Memory, Plan


class ReplayError(ValueError):
    """What was saved cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a decision depends on."""

    observed: Observed
    job_queue: JobQueue
    memory: Memory

    def decide(self) -> Plan:
        """Make the decision, again."""
        return plan(self.observed, self.job_queue, self.memory)


_FIELDS = {field.name for field in fields(Inputs)}


def save(inputs: Inputs) -> dict[str, Any]:
    """As plain values for JSON."""
    found: dict[str, Any] = _plain(inputs)
    return found


def load(saved: Any) -> Inputs:
    """What ``save`` returned, after JSON.

    Raises:
        ReplayError: it is something else, or of another version of the operator.
    """
    inputs: Inputs = _typed(saved, Inputs, "inputs")
    return inputs


def from_text(text: str) -> list[Inputs]:
    """The inputs in a log of the operator, or in an object of it, however that is laid out.

    Raises:
        ReplayError: there are none, or they cannot be read.
    """
    found = []
    for start, value in _objects(text):
        saved = value.get("inputs", value)
        if "inputs" not in value and value.keys() != _FIELDS:
            continue
        try:
            found.append(load(saved))
        except ReplayError as error:
            line = text.count("\n", 0, start) + 1
            raise ReplayError(f"line {line}: {error}; replay it by the version of the operator that wrote it") from None
    if not found:
        raise ReplayError(
            "no line holds the inputs of a decision: the operator writes them, in its pod that holds the Lease, with "
            "RIVERMILL_LOG_LEVEL=debug, and RIVERMILL_LOG_FORMAT=json, which is the default"
        )
    return found


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every JSON object, and where it begins; other programs may write into the same log, and in front of each line."""
    decoder, at = json.JSONDecoder(), 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, start)
        except ValueError:
            at = text.find("\n", start)
            if at < 0:
                return
        else:
            yield start, value


def _plain(value: Any) -> Any:
    if isinstance(value, Cron):
        return value.text
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(value: Any, kind: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _typed(value, _member(value, arguments, path), path)
    if origin is tuple:
        if not isinstance(value, list):
            raise ReplayError(f"{path}: must be a list")
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(each) != len(value):
            raise ReplayError(f"{path}: must have {len(each)} items")
        return tuple(_typed(item, of, f"{path}[{i}]") for i, (item, of) in enumerate(zip(value, each, strict=True)))
    try:
        if kind is Cron:
            return Cron.parse(value)
        if kind is datetime:
            return _in_utc(datetime.fromisoformat(value))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
    except (TypeError, ValueError) as error:
        raise ReplayError(f"{path}: {error}") from None
    return _dataclass(value, kind, path) if is_dataclass(kind) else value


def _in_utc(moment: datetime) -> datetime:
    """Times are in UTC, whatever zone they are written in, and where none is."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _dataclass(value: Any, kind: Any, path: str) -> Any:
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict) or set(value) != names:
        wrong = sorted(set(value) ^ names) if isinstance(value, dict) else type(value).__name__
        raise ReplayError(f"{path}: is no {kind.__name__} of this version ({wrong})")
    hints = _hints(kind)
    return kind(**{name: _typed(item, hints[name], f"{path}.{name}") for name, item in value.items()})


def _member(value: Any, kinds: tuple[Any, ...], path: str) -> Any:
    """The type of a union that a plain value came from: dataclasses are known by their fields."""
    if value is None and type(None) in kinds:
        return type(None)
    left = [kind for kind in kinds if kind is not type(None)]
    if len(left) == 1:
        return left[0]
    for kind in left:
        if is_dataclass(kind) and isinstance(value, dict) and set(value) == {field.name for field in fields(kind)}:
            return kind
    raise ReplayError(f"{path}: is none of {', '.join(kind.__name__ for kind in left)}")
