"""Rows of ``river_job`` as values: the columns to select and how they are decoded."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.job import AttemptError, JobRow, JobState

_COLUMNS = (
    "id, kind, queue, state::text AS state, args::text AS args, attempt, max_attempts, priority, created_at, "
    "scheduled_at, attempted_at, finalized_at, attempted_by, errors::text[] AS errors, metadata::text AS metadata, "
    "tags, unique_key, unique_states::int AS unique_states"
)

_CLAIM_COLUMNS = (
    "id, kind, args::text AS args, attempt, max_attempts, priority, metadata::text AS metadata, "
    "date_part('epoch', scheduled_at) AS scheduled_at, date_part('epoch', attempted_at) AS attempted_at, "
    "date_part('epoch', created_at) AS created_at, "
    "CASE WHEN array_length(attempted_by, 1) > 1 THEN attempted_by END AS attempted_by, errors::text[] AS errors, "
    "CASE WHEN cardinality(tags) > 0 THEN tags END AS tags, unique_key, unique_states::int AS unique_states"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Go's zero time: what a time that cannot be read becomes.
_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
#: What Go reads as a time; Python reads more, which River has as no time at all.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)

FIRST_TIME, END_OF_TIMES = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""The first time that is written, and the one before which all are: what lies outside is no time in every zone, and asyncpg
writes Python's last one as infinity, which Go cannot read."""

#: Bit of each state in ``unique_states``.
STATE_BITS = {
    JobState.AVAILABLE: 1,
    JobState.CANCELLED: 2,
    JobState.COMPLETED: 4,
    JobState.DISCARDED: 8,
    JobState.PENDING: 16,
    JobState.RETRYABLE: 32,
    JobState.RUNNING: 64,
    JobState.SCHEDULED: 128,
}


def job_columns(table: str = "") -> str:
    """The select list that ``job_from_record`` decodes, optionally qualified with a table's name or alias."""
    if not table:
        return _COLUMNS
    return ", ".join(f"{table}.{column.strip()}" for column in _COLUMNS.split(","))


def claim_columns() -> str:
    """The select list of a claim, that ``claimed_record`` completes: what an attempt needs, in forms that are cheap to decode.

    What every row of a claim has in common is left out, what most do not have is null, and times are seconds.
    """
    return _CLAIM_COLUMNS


def claimed_record(record: Any, queue: str, client_id: str) -> dict[str, Any]:
    """What a client has claimed, in the form of ``job_columns``."""
    times = {name: _time_of(record[name]) for name in ("scheduled_at", "attempted_at", "created_at")}
    known = {"queue": queue, "state": "running", "finalized_at": None}
    return {**record, **times, **known, "attempted_by": record["attempted_by"] or (client_id,), "tags": record["tags"] or ()}


def job_from_record(record: Any) -> JobRow:
    """Decode one row.

    Raises:
        ValueError: args, metadata or an element of ``errors`` is not JSON.
    """
    states = record["unique_states"]
    return JobRow(
        id=record["id"],
        kind=record["kind"],
        queue=record["queue"],
        state=JobState(record["state"]),
        args=json.loads(record["args"]),
        attempt=record["attempt"],
        max_attempts=record["max_attempts"],
        priority=record["priority"],
        created_at=_aware(record["created_at"]),
        scheduled_at=_aware(record["scheduled_at"]),
        attempted_at=record["attempted_at"] and _aware(record["attempted_at"]),
        finalized_at=record["finalized_at"] and _aware(record["finalized_at"]),
        attempted_by=tuple(record["attempted_by"] or ()),
        errors=tuple(parse_error(text) for text in record["errors"] or ()),
        metadata=json.loads(record["metadata"]),
        tags=tuple(record["tags"]),
        unique_key=record["unique_key"],
        unique_states=() if states is None else tuple(s for s, bit in STATE_BITS.items() if states & bit),
        encoded_args=record["args"],
        encoded_metadata=record["metadata"],
    )


def readable_job(record: Any) -> JobRow:
    """One row, or what of it can be decoded."""
    try:
        return job_from_record(record)
    except (ValueError, RecursionError):
        return readable_part(record)


def readable_part(record: Any) -> JobRow:
    """What can be decoded of a row that cannot be decoded whole, for those who are told of its failure."""
    texts = {name: record[name] if json_object(record[name]) else "{}" for name in ("args", "metadata")}
    row = job_from_record({**record, **texts, "errors": None})
    # Their number decides when the job runs again.
    errors = tuple(AttemptError(_NO_TIME, 0, text or "", "") for text in record["errors"] or ())
    return replace(row, errors=errors, encoded_args=record["args"], encoded_metadata=record["metadata"])


def json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text is; nothing where it is something else, or cannot be decoded."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def parse_error(text: str | None) -> AttemptError:
    """Decode one element of ``river_job.errors``, leniently as River does: what has another form must not hide the job.

    Raises:
        ValueError: it is not JSON.
    """
    value = None if text is None else json.loads(text)
    if not isinstance(value, dict):
        return AttemptError(at=_NO_TIME, attempt=0, error=_text(value), trace="")
    return AttemptError(
        at=_time(value.get("at")),
        attempt=_whole(value.get("attempt")),
        error=_text(value.get("error")),
        trace=_text(value.get("trace")),
        encoded_at=_text(value.get("at")),
    )


def _aware(at: datetime) -> datetime:
    """A time as the driver gives it, which has no zone where it is infinite."""
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _time_of(seconds: float) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=round(seconds * 1e6))
    except OverflowError:  # infinite, or before or after Python's years
        return _END_OF_TIME if seconds > 0 else _NO_TIME


def _time(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value) if _RFC3339.fullmatch(value) else _NO_TIME
    except (TypeError, ValueError):
        return _NO_TIME


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
