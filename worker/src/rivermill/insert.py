"""Inserting jobs: options, their validation, and the one statement for one job or many.

Mirrors River's ``insert_opts.go``, ``client.go`` (insert) and ``internal/notifylimiter``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from rivermill.args import encode_args, kind_of
from rivermill.db import Connection
from rivermill.errors import ValidationError
from rivermill.job import JobRow, JobState
from rivermill.rows import job_columns, job_from_record
from rivermill.schema import Schema

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
    """

    max_attempts: int | None = None
    metadata: Mapping[str, Any] | None = None
    pending: bool | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: Sequence[str] | None = None

    def over(self, other: InsertOpts) -> InsertOpts:
        """These options, with ``other``'s where they leave the choice open."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return InsertOpts(**{k: v if v is not None else getattr(other, k) for k, v in mine.items()})


@dataclass(frozen=True, slots=True)
class InsertParams:
    """One job to insert: its args and options, for ``insert_many``."""

    args: Any
    opts: InsertOpts = InsertOpts()


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
    state = JobState.PENDING if opts.pending else due
    max_attempts = default_max_attempts if opts.max_attempts is None else opts.max_attempts
    priority = PRIORITY_DEFAULT if opts.priority is None else opts.priority
    return _Row(
        args=encode_args(args),
        kind=kind_of(args),
        max_attempts=_check_int("max_attempts", max_attempts, 1, _MAX_SMALLINT),
        metadata=_encode_metadata(opts.metadata or {}),
        priority=_check_int("priority", priority, 1, _MAX_PRIORITY),
        queue=check_queue(opts.queue if opts.queue is not None else QUEUE_DEFAULT),
        scheduled_at=opts.scheduled_at,
        state=state.value,
        tags=_check_tags(opts.tags or ()),
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
        # One statement, so one transaction: rows and notifications become visible together.
        self._sql = f"""
            WITH input AS (
                SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::smallint[],
                                     $6::text[], $7::timestamptz[], $8::text[], $9::text[])
                    WITH ORDINALITY AS t (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags, n)
            ), inserted AS (
                INSERT INTO {schema.table("river_job")}
                    (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags)
                SELECT args::jsonb, kind, max_attempts, metadata::jsonb, priority, queue, coalesce(scheduled_at, now()),
                       state::{schema.table("river_job_state")}, string_to_array(tags, ',')
                FROM input ORDER BY n
                RETURNING {job_columns()}
            ), notified AS (
                SELECT count(pg_notify($10, payload)) AS sent FROM unnest($11::text[]) AS payload
            )
            SELECT inserted.* FROM inserted, notified ORDER BY id
        """

    async def insert(self, connection: Connection, jobs: Sequence[InsertParams]) -> list[JobRow]:
        """Insert jobs in the connection's transaction, if it is in one; rows come back in the order given.

        Raises:
            ValidationError: there are no jobs, or one of them is not valid; nothing is inserted then.
        """
        if not jobs:
            raise ValidationError("no jobs to insert: pass at least one")
        rows = [_to_row(job, self._max_attempts) for job in jobs]
        due = dict.fromkeys(row.queue for row in rows if row.state == JobState.AVAILABLE)
        payloads = [f'{{"queue": {json.dumps(queue)}}}' for queue in self._limiter.admit(due)]
        columns = [[getattr(row, f.name) for row in rows] for f in fields(_Row)]
        records = await connection.fetch(self._sql, *columns, self._channel, payloads)
        return [job_from_record(record) for record in records]
