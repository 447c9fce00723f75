"""Inserting jobs: options, their validation, and the one statement for one job or many.

Mirrors River's ``insert_opts.go``, ``client.go`` (insert) and ``internal/notifylimiter``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from rivermill.args import encode_args, kind_of
from rivermill.db import Connection
from rivermill.errors import UniqueConflictError, ValidationError
from rivermill.job import JobRow, JobState
from rivermill.rows import job_columns, job_from_record
from rivermill.schema import Schema
from rivermill.unique import Unique, unique_key

QUEUE_DEFAULT = "default"
PRIORITY_DEFAULT = 1
_MAX_QUEUE_LENGTH = 64
_MAX_TAG_LENGTH = 255
_MAX_PRIORITY = 4
_MAX_SMALLINT = 32767
_QUEUE = re.compile(r"(?:[a-z0-9])+(?:[_|\-]?[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w\-]+\w")


@dataclass(frozen=True, slots=True)
class InsertOpts:
    """How a job is inserted; None leaves the choice to the args type's ``insert_opts()``, then to the client.

    Args:
        max_attempts: attempts before the job is discarded, 1 to 32767.
        metadata: a JSON object kept beside the args.
        pending: insert as ``pending``, which nothing works until it is made available.
        priority: 1 (most urgent) to 4.
        queue: River's queue name: lower case letters and digits in groups joined by ``_`` or ``-``, at most 64 characters.
        scheduled_at: run no earlier than this aware time.
        tags: 3 or more word characters each, ``-`` allowed inside.
        unique: which properties make it the same job as another; an empty ``Unique()`` counts as None.
    """

    max_attempts: int | None = None
    metadata: Mapping[str, Any] | None = None
    pending: bool | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: Sequence[str] | None = None
    unique: Unique | None = None

    def over(self, other: InsertOpts) -> InsertOpts:
        """These options, with ``other``'s where they leave the choice open."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.unique is not None and self.unique.empty:
            mine["unique"] = None
        return InsertOpts(**{k: v if v is not None else getattr(other, k) for k, v in mine.items()})


@dataclass(frozen=True, slots=True)
class InsertParams:
    """One job to insert: its args and options, for ``insert_many``."""

    args: Any
    opts: InsertOpts = InsertOpts()


@dataclass(frozen=True, slots=True)
class PeriodicParams(InsertParams):
    """One turn of a periodic job: available at once, although ``at`` may lie a little ahead."""

    at: datetime = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class JobInsertResult:
    """What became of one job to insert. Mirrors River's ``JobInsertResult``.

    Attributes:
        job: the new row, or the existing one that holds the unique key.
        unique_skipped_as_duplicate: whether it is the existing one; nothing was inserted then.
    """

    job: JobRow
    unique_skipped_as_duplicate: bool


@dataclass(frozen=True, slots=True)
class _Row:
    args: str
    kind: str
    max_attempts: int
    metadata: str
    priority: int
    queue: str
    scheduled_at: datetime | None
    state: str
    tags: str
    unique_key: bytes | None
    unique_states: int | None


def check_queue(name: str) -> str:
    """Return a queue name if River accepts it.

    Raises:
        ValidationError: it does not.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_QUEUE_LENGTH or not _QUEUE.fullmatch(name):
        raise ValidationError(
            f"queue {name!r}: use 1 to {_MAX_QUEUE_LENGTH} lower case letters and digits, in groups joined by single _ or -"
        )
    return name


def _check_int(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationError(f"{name} {value!r}: use a whole number from {low} to {high}")
    return value


def _check_tags(tags: Iterable[str]) -> str:
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > _MAX_TAG_LENGTH or not _TAG.fullmatch(tag):
            raise ValidationError(
                f"tag {tag!r}: use 3 to {_MAX_TAG_LENGTH} letters, digits or underscores, - allowed between them"
            )
    return ",".join(tags)


def _encode_metadata(metadata: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"metadata cannot be encoded as a JSON object: {error}") from error
    return text


def _to_row(params: InsertParams, default_max_attempts: int) -> _Row:
    args = params.args
    own = getattr(args, "insert_opts", None)
    opts = params.opts.over(own() if callable(own) else InsertOpts())
    if opts.scheduled_at is not None and opts.scheduled_at.tzinfo is None:
        raise ValidationError(f"scheduled_at {opts.scheduled_at}: give it a time zone, e.g. datetime.now(UTC)")
    due = JobState.AVAILABLE if opts.scheduled_at is None else JobState.SCHEDULED
    max_attempts = default_max_attempts if opts.max_attempts is None else opts.max_attempts
    priority = PRIORITY_DEFAULT if opts.priority is None else opts.priority
    kind, encoded = kind_of(args), encode_args(args)
    queue = check_queue(opts.queue if opts.queue is not None else QUEUE_DEFAULT)
    unique = opts.unique if opts.unique is not None and not opts.unique.empty else None
    scheduled_at = opts.scheduled_at or (params.at if isinstance(params, PeriodicParams) else None)
    at = scheduled_at or datetime.now(UTC)
    return _Row(
        args=encoded,
        kind=kind,
        max_attempts=_check_int("max_attempts", max_attempts, 1, _MAX_SMALLINT),
        metadata=_encode_metadata(opts.metadata or {}),
        priority=_check_int("priority", priority, 1, _MAX_PRIORITY),
        queue=queue,
        scheduled_at=scheduled_at,
        state=(JobState.PENDING if opts.pending else due).value,
        tags=_check_tags(opts.tags or ()),
        unique_key=unique_key(unique, kind=kind, args=encoded, queue=queue, at=at) if unique else None,
        unique_states=unique.state_mask if unique else None,
    )


def _check_distinct(rows: Sequence[_Row]) -> None:
    seen: dict[bytes, int] = {}
    for number, row in enumerate(rows):
        if row.unique_key is not None and seen.setdefault(row.unique_key, number) != number:
            raise ValidationError(
                f"jobs {seen[row.unique_key]} and {number} of kind {row.kind!r} have the same unique key: insert one of them"
            )


class NotifyLimiter:
    """Lets one insert notification per queue through in each cooldown; workers find the others' jobs with that one's."""

    def __init__(self, cooldown: timedelta) -> None:
        self._cooldown = cooldown.total_seconds()
        self._last: dict[str, float] = {}

    def admit(self, queues: Iterable[str]) -> list[str]:
        """Which of these queues may be notified now."""
        now = time.monotonic()
        admitted = [queue for queue in queues if self._last.get(queue, float("-inf")) < now - self._cooldown]
        self._last.update(dict.fromkeys(admitted, now))
        return admitted


class Inserter:
    """Validates and inserts jobs.

    Args:
        schema: where River's tables are.
        max_attempts: the client's default.
        limiter: shared by all inserts of one client.
    """

    def __init__(self, schema: Schema, max_attempts: int, limiter: NotifyLimiter) -> None:
        self._max_attempts = max_attempts
        self._limiter = limiter
        self._channel = schema.channel("river_insert")
        self._schema = schema
        self._plain, self._unique = self._statement(""), self._statement(self._on_conflict())

    def _on_conflict(self) -> str:
        # The no-op update makes the existing row come back; its kind stays, which may differ from ours.
        in_bitmask = self._schema.table("river_job_state_in_bitmask")
        return f"""
            ON CONFLICT (unique_key)
                WHERE unique_key IS NOT NULL AND unique_states IS NOT NULL AND {in_bitmask}(unique_states, state)
                DO UPDATE SET kind = job.kind
        """

    def _statement(self, on_conflict: str) -> str:
        # One statement, so one transaction: rows and notifications become visible together.
        return f"""
            WITH input AS (
                SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::smallint[],
                                     $6::text[], $7::timestamptz[], $8::text[], $9::text[], $10::bytea[], $11::int[])
                    WITH ORDINALITY AS t (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
                                          unique_key, unique_states, n)
            ), inserted AS (
                INSERT INTO {self._schema.table("river_job")} AS job
                    (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states)
                SELECT args::jsonb, kind, max_attempts, metadata::jsonb, priority, queue, coalesce(scheduled_at, now()),
                       state::{self._schema.table("river_job_state")}, string_to_array(tags, ','), unique_key,
                       unique_states::bit(8)
                FROM input ORDER BY n
                {on_conflict}
                RETURNING {job_columns("job")}, job.xmax <> 0 AS duplicate
            ), notified AS (
                SELECT count(pg_notify($12, payload)) AS sent FROM unnest($13::text[]) AS payload
            )
            SELECT inserted.* FROM inserted, notified ORDER BY id
        """

    async def insert(self, connection: Connection, jobs: Sequence[InsertParams]) -> list[JobInsertResult]:
        """Insert jobs in the connection's transaction, if it is in one; results come back in the order given.

        Raises:
            ValidationError: there are no jobs, one of them is not valid, or two have the same unique key; nothing is
                inserted then.
        """
        rows = self._rows(jobs)
        _check_distinct(rows)
        columns = [[getattr(row, f.name) for row in rows] for f in fields(_Row)]
        sql = self._unique if any(columns[-1]) else self._plain
        records = await connection.fetch(sql, *columns, self._channel, self._payloads(rows))
        return _in_order(rows, records)

    def check(self, job: InsertParams) -> None:
        """Raise the ValidationError that inserting the job would raise."""
        _to_row(job, self._max_attempts)

    async def insert_fast(self, connection: Connection, jobs: Sequence[InsertParams]) -> int:
        """Insert jobs by COPY, in the connection's transaction or one of its own; returns how many.

        Raises:
            ValidationError: there are no jobs, or one of them is not valid.
            UniqueConflictError: a unique key is taken, or there twice; nothing is inserted then.
        """
        rows = self._rows(jobs)
        names = [f.name for f in fields(_Row)]
        now = datetime.now(UTC)
        records = [_copied(row, now) for row in rows]
        async with connection.transaction() if not connection.is_in_transaction() else nullcontext():
            try:
                await connection.copy_records_to_table(
                    "river_job", schema_name=self._schema.name, columns=names, records=records
                )
            except asyncpg.UniqueViolationError as error:
                raise UniqueConflictError("insert_many_fast: a unique key is taken; insert_many skips duplicates") from error
            payloads = self._payloads(rows)
            if payloads:
                await connection.fetch(
                    "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", self._channel, payloads
                )
        return len(rows)

    def _rows(self, jobs: Sequence[InsertParams]) -> list[_Row]:
        if not jobs:
            raise ValidationError("no jobs to insert: pass at least one")
        return [_to_row(job, self._max_attempts) for job in jobs]

    def _payloads(self, rows: Sequence[_Row]) -> list[str]:
        due = dict.fromkeys(row.queue for row in rows if row.state == JobState.AVAILABLE)
        return [f'{{"queue": {json.dumps(queue)}}}' for queue in self._limiter.admit(due)]


def _in_order(rows: Sequence[_Row], records: Sequence[Any]) -> list[JobInsertResult]:
    """Join rows to what came back by id: those with a unique key by that, the others by the order of their new ids."""
    keyed = {record["unique_key"]: record for record in records if record["unique_key"] is not None}
    plain = iter([record for record in records if record["unique_key"] is None])
    found = [next(plain) if row.unique_key is None else keyed[row.unique_key] for row in rows]
    return [JobInsertResult(job_from_record(record), record["duplicate"]) for record in found]


def _copied(row: _Row, now: datetime) -> tuple[Any, ...]:
    states = None if row.unique_states is None else asyncpg.BitString.from_int(row.unique_states, 8)
    tags = row.tags.split(",") if row.tags else []
    changed = replace(row, scheduled_at=row.scheduled_at or now)
    values = {f.name: getattr(changed, f.name) for f in fields(_Row)} | {"tags": tags, "unique_states": states}
    return tuple(values.values())
