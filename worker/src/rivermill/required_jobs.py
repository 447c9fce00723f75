"""Which jobs there must be: the requirements of ``rivermill.testing``, for ``Client`` and ``SyncClient``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar, overload

from rivermill.args import decode_args, encode_args, kind_of
from rivermill.client import Client
from rivermill.gojson import encode
from rivermill.job import Job, JobRow, JobState
from rivermill.joblist import MAX_LIST, JobListParams
from rivermill.sync import SyncClient
from rivermill.transactions import Transaction

ResultT = TypeVar("ResultT")

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Expected:
    """A job that is expected; what is None is not looked at.

    Args:
        args: an args type, or an args value to which the job's args must be equal.
        max_attempts: its ``max_attempts``.
        priority: its priority, 1 to 4.
        queue: its queue.
        scheduled_at: when it is due; an aware time.
        state: its state.
        tags: all its tags, in order.
    """

    args: Any
    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    state: JobState | None = None
    tags: Sequence[str] | None = None

    @property
    def kind(self) -> str:
        """The kind of its args."""
        return kind_of(self.args)

    @property
    def args_type(self) -> type[Any]:
        """The type of its args."""
        return self.args if isinstance(self.args, type) else type(self.args)

    def differences(self, row: JobRow) -> list[str]:
        """In what a job is another than the one expected, e.g. ``queue is 'default', not 'mail'``."""
        found = []
        if not isinstance(self.args, type):
            stored, wanted = decode_args(self.args_type, encode(row.args)), decode_args(self.args_type, encode_args(self.args))
            if stored != wanted:
                found.append(f"args are {stored!r}, not {wanted!r}")
        for name in (f.name for f in fields(self) if f.name != "args"):
            want, have = getattr(self, name), getattr(row, name)
            if want is not None and (list(want) != list(have) if name == "tags" else want != have):
                found.append(f"{name} is {_show(have)}, not {_show(want)}")
        return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """The jobs of the kinds that are asked for, and the first ones of all kinds, for the message."""

    rows: Sequence[JobRow]
    first: Sequence[JobRow]

    @property
    def found(self) -> str:
        return f"the jobs are {describe(self.first)}" if self.first else "there is no job at all"


@overload
def require_inserted(client: SyncClient, expected: Any, *, tx: Transaction | None = None) -> Job[Any]: ...
@overload
def require_inserted(client: Client, expected: Any, *, tx: Transaction | None = None) -> Coroutine[Any, Any, Job[Any]]: ...
def require_inserted(client: Client | SyncClient, expected: Any, *, tx: Transaction | None = None) -> Any:
    """Require that exactly one job of a kind exists, and that it is the one expected.

    Args:
        client: reads the jobs; it needs no workers and no start. The call is awaited with a ``Client``, but not with a
            ``SyncClient``.
        expected: an args type, an args value, or ``Expected``.
        tx: as for the client's ``insert``, to see what an open transaction has inserted.

    Returns:
        The job, its args decoded.

    Raises:
        AssertionError: there is none, more than one, or it is another.
    """
    __tracebackhide__ = True
    wanted = _expected(expected)
    return _look(client, [wanted.kind], tx, lambda seen: _one(wanted, seen))


@overload
def require_not_inserted(client: SyncClient, expected: Any, *, tx: Transaction | None = None) -> None: ...
@overload
def require_not_inserted(client: Client, expected: Any, *, tx: Transaction | None = None) -> Coroutine[Any, Any, None]: ...
def require_not_inserted(client: Client | SyncClient, expected: Any, *, tx: Transaction | None = None) -> Any:
    """Require that no job exists that is the one described; arguments as for ``require_inserted``.

    Raises:
        AssertionError: there is one.
    """
    __tracebackhide__ = True
    wanted = _expected(expected)
    return _look(client, [wanted.kind], tx, lambda seen: _none(wanted, seen))


@overload
def require_many_inserted(client: SyncClient, expected: Iterable[Any], *, tx: Transaction | None = None) -> list[Job[Any]]: ...
@overload
def require_many_inserted(
    client: Client, expected: Iterable[Any], *, tx: Transaction | None = None
) -> Coroutine[Any, Any, list[Job[Any]]]: ...
def require_many_inserted(client: Client | SyncClient, expected: Iterable[Any], *, tx: Transaction | None = None) -> Any:
    """Require that the jobs of the kinds named are these and no others, in the order of their ids.

    Args:
        client: as for ``require_inserted``.
        expected: args types, args values or ``Expected``, one for each job; a kind may occur several times.
        tx: as for ``require_inserted``.

    Returns:
        The jobs, in the same order.

    Raises:
        AssertionError: there are other jobs of these kinds, in number, order or any value that is expected.
        ValueError: none is expected.
    """
    __tracebackhide__ = True
    wanted = [_expected(item) for item in expected]
    if not wanted:
        raise ValueError("no jobs are expected: name at least one, or use require_not_inserted")
    return _look(client, sorted({item.kind for item in wanted}), tx, lambda seen: _all(wanted, seen))


def describe(rows: Sequence[JobRow]) -> str:
    """Jobs in one line, the first 20 of them."""
    texts = [f"{row.id} ({row.kind} in {row.queue}, {row.state}, {encode(row.args)[:80]})" for row in rows[:_MOST_SHOWN]]
    return ", ".join(texts)


def _look(client: Client | SyncClient, kinds: Sequence[str], tx: Transaction | None, check: Callable[[_Seen], ResultT]) -> Any:
    """What ``check`` says of the jobs; of a ``Client``, a coroutine for it."""
    __tracebackhide__ = True
    lists = JobListParams(kinds=kinds, limit=MAX_LIST), JobListParams(limit=_MOST_SHOWN)
    if isinstance(client, SyncClient):
        return check(_Seen(*(client.job_list(params, tx=tx).jobs for params in lists)))

    async def look() -> ResultT:
        __tracebackhide__ = True
        return check(_Seen(*[(await client.job_list(params, tx=tx)).jobs for params in lists]))

    return look()


def _one(wanted: Expected, seen: _Seen) -> Job[Any]:
    __tracebackhide__ = True
    if len(seen.rows) != 1:
        raise AssertionError(f"expected one job of kind {wanted.kind!r}, there are {len(seen.rows)}; {seen.found}")
    _require_same(wanted, seen.rows[0])
    return _job(wanted, seen.rows[0])


def _none(wanted: Expected, seen: _Seen) -> None:
    __tracebackhide__ = True
    matching = [row for row in seen.rows if not wanted.differences(row)]
    if matching:
        raise AssertionError(f"expected no such job of kind {wanted.kind!r}, there is {describe(matching)}")


def _all(wanted: Sequence[Expected], seen: _Seen) -> list[Job[Any]]:
    __tracebackhide__ = True
    kinds, found = [item.kind for item in wanted], [row.kind for row in seen.rows]
    if kinds != found:
        raise AssertionError(f"expected jobs of the kinds {kinds}, there are {found}; {seen.found}")
    for number, (item, row) in enumerate(zip(wanted, seen.rows, strict=True)):
        _require_same(item, row, f"job {number} of those expected: ")
    return [_job(item, row) for item, row in zip(wanted, seen.rows, strict=True)]


def _expected(value: Any) -> Expected:
    return value if isinstance(value, Expected) else Expected(value)


def _job(wanted: Expected, row: JobRow) -> Job[Any]:
    return Job(decode_args(wanted.args_type, encode(row.args)), row)


def _require_same(wanted: Expected, row: JobRow, which: str = "") -> None:
    __tracebackhide__ = True
    differences = wanted.differences(row)
    if differences:
        raise AssertionError(f"{which}job {row.id} of kind {row.kind!r} is another: {'; '.join(differences)}")


def _show(value: Any) -> str:
    return str(value) if isinstance(value, JobState | datetime) else repr(list(value) if isinstance(value, tuple) else value)
