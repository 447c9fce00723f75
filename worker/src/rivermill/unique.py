"""Unique jobs: which of a job's properties make it the same job as another, and the key that says so.

Keys are byte-equal to River's, so Go and Python inserts find each other's duplicates. Mirrors ``UniqueOpts`` of River's
``insert_opts.go`` and ``internal/dbunique``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rivermill import gojson
from rivermill.errors import ValidationError
from rivermill.job import JobState
from rivermill.rows import STATE_BITS

UNIQUE_STATES_DEFAULT = (
    JobState.AVAILABLE,
    JobState.COMPLETED,
    JobState.PENDING,
    JobState.RETRYABLE,
    JobState.RUNNING,
    JobState.SCHEDULED,
)
"""The states in which a job holds its unique key unless ``Unique.by_state`` says otherwise (River's default)."""

_REQUIRED = (JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED)
_GO_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
# Texts stay texts here: only where a value ends matters.
_decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).raw_decode
_ESCAPED_KEY = re.compile('[\x00-\x1f"\\\\\u0080-\U0010ffff]')


@dataclass(frozen=True, slots=True)
class Unique:
    """What makes a job unique; the kind always counts unless ``exclude_kind``. Mirrors River's ``UniqueOpts``.

    Args:
        by_args: True for all args, or the paths of the members that count: ``["customer_id", "account.id"]``; a path given
            as a tuple is taken literally, for names with dots. Members that are absent are skipped, as in Go.
        by_period: at most one in each period of this length, 1 s or more, counted from Go's zero time in UTC.
        by_queue: at most one in each queue.
        by_state: states in which a job holds its key; must have ``available``, ``pending``, ``running`` and ``scheduled``.
            Empty takes ``UNIQUE_STATES_DEFAULT``.
        exclude_kind: across kinds; needs one of ``by_args``, ``by_period`` and ``by_queue``.

    Raises:
        ValidationError: a value is not one of these.
    """

    by_args: bool | Sequence[str | tuple[str, ...]] = False
    by_period: timedelta | None = None
    by_queue: bool = False
    by_state: Sequence[JobState] = ()
    exclude_kind: bool = False

    def __post_init__(self) -> None:
        if self.by_period is not None and not isinstance(self.by_period, timedelta):
            raise ValidationError(f"unique by_period {self.by_period!r}: use a timedelta, such as timedelta(hours=1), or None")
        if self.by_period is not None and self.by_period < timedelta(seconds=1):
            raise ValidationError(f"unique by_period {self.by_period}: use 1 second or more, or None")
        if self.exclude_kind and not (self.by_args or self.by_period or self.by_queue):
            raise ValidationError("unique exclude_kind=True: combine it with by_args, by_period or by_queue")
        for state in self.by_state:
            if state not in STATE_BITS:
                raise ValidationError(f"unique by_state {state!r}: use states such as JobState.AVAILABLE")
        missing = [state.value for state in _REQUIRED if self.by_state and state not in self.by_state]
        if missing:
            raise ValidationError(f"unique by_state {list(self.by_state)}: add {', '.join(missing)}; River requires them")
        check_paths("unique by_args", self.by_args)

    @property
    def empty(self) -> bool:
        """Whether nothing makes the job unique."""
        return not (self.by_args or self.by_period or self.by_queue or self.by_state or self.exclude_kind)

    @property
    def state_mask(self) -> int:
        """The states as ``river_job.unique_states`` stores them: one bit each, ``available`` the lowest."""
        return sum(STATE_BITS[state] for state in set(self.by_state or UNIQUE_STATES_DEFAULT))

    def paths(self) -> list[tuple[str, ...]]:
        """The selected members in the order that River hashes them; empty for all args."""
        return _paths(self.by_args)


def check_paths(what: str, by_args: bool | Sequence[str | tuple[str, ...]]) -> None:
    """Raise ValidationError if args are not selected as ``Unique.by_args`` says; ``what`` is the option's name."""
    if isinstance(by_args, str):
        raise ValidationError(f"{what} {by_args!r}: pass a list of paths, e.g. [{by_args!r}], or True")
    if not isinstance(by_args, bool | Collection) or isinstance(by_args, Mapping):
        raise ValidationError(f"{what} {by_args!r}: pass True, or a list of paths, e.g. ['customer_id']")
    if not isinstance(by_args, bool):
        for path in by_args:
            if not isinstance(path, str) and not (
                isinstance(path, tuple | list) and all(isinstance(part, str) for part in path)
            ):
                raise ValidationError(f"{what} {path!r}: a path is a text such as 'account.id', or a tuple of texts")
    for path in _paths(by_args):
        if any(not part or part.isdecimal() for part in path):
            raise ValidationError(f"{what} {path}: a name must not be empty or digits only")


def _paths(by_args: bool | Sequence[str | tuple[str, ...]]) -> list[tuple[str, ...]]:
    if isinstance(by_args, bool):
        return []
    paths = {tuple(path.split(".")) if isinstance(path, str) else tuple(path) for path in by_args}
    return sorted(paths, key=lambda path: (".".join(path).encode(), len(path) == 1))


def unique_key(unique: Unique, *, kind: str, args: str, queue: str, at: datetime) -> bytes:
    """The 32 bytes of ``river_job.unique_key``.

    Args:
        unique: what counts.
        kind: the job's kind.
        args: its args as ``encode_args`` gives them.
        queue: its queue.
        at: its ``scheduled_at``, or the present moment; aware.

    Raises:
        ValidationError: all args count and they are not an object.
    """
    text = "" if unique.exclude_kind else f"&kind={kind}"
    if unique.by_args:
        paths = unique.paths()
        text += f"&args={_selected(args, paths) if paths else _sorted_members(args)}"
    if unique.by_period:
        start = at.astimezone(UTC)
        start -= (start - _GO_ZERO_TIME) % unique.by_period
        text += f"&period={start.replace(tzinfo=None).isoformat(timespec='seconds')}Z"
    if unique.by_queue:
        text += f"&queue={queue}"
    return hashlib.sha256(text.encode()).digest()


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of a compact JSON object, each with the raw text of its value."""
    position = 1
    while text[position] != "}":
        key, position = _decode(text, position)
        start = position + 1
        _, position = _decode(text, start)
        yield key, text[start:position]
        position += text[position] == ","


def _sorted_members(args: str) -> str:
    if args == "[]":
        return "{}"  # as in Go
    if not args.startswith("{"):
        raise ValidationError(f"unique by_args: the args must be a JSON object, not {args[:20]}")
    members: dict[str, str] = {}
    for key, value in _members(args):
        members.setdefault(key, value)
    return "{" + ",".join(f"{_encode_key(key)}:{members[key]}" for key in sorted(members)) + "}"


def _selected(args: str, paths: Sequence[tuple[str, ...]]) -> str:
    """An object of the selected members that are present; nothing at all when none is."""
    document: dict[str, object] = {}
    for path in paths:
        value = _at(args, path)
        if value is None:
            continue
        node: object = document
        for part in path[:-1]:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node
        if isinstance(node, dict):  # else a parent is selected as a whole already
            node[path[-1]] = value
    return _write(document) if document else ""


def _at(text: str, path: Sequence[str]) -> str | None:
    for part in path:
        if not text.startswith("{"):
            return None
        found = next((value for key, value in _members(text) if key == part), None)
        if found is None:
            return None
        text = found
    return text


def _write(node: object) -> str:
    if isinstance(node, dict):
        return "{" + ",".join(f"{_encode_key(key)}:{_write(item)}" for key, item in node.items()) + "}"
    return str(node)


def _encode_key(key: str) -> str:
    """River writes a key as it is unless it holds a quote, a backslash, or a byte that is not printable ASCII."""
    return gojson.encode_str(key) if _ESCAPED_KEY.search(key) else f'"{key}"'
