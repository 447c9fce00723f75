"""Rows of ``river_job`` as values: the columns to select and how they are decoded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from rivermill.job import AttemptError, JobRow, JobState

_COLUMNS = (
    "id, kind, queue, state::text AS state, args::text AS args, attempt, max_attempts, priority, created_at, "
    "scheduled_at, attempted_at, finalized_at, attempted_by, errors::text[] AS errors, metadata::text AS metadata, "
    "tags, unique_key, unique_states::int AS unique_states"
)

#: Go's zero time: what a time that cannot be read becomes.
_NO_TIME = datetime(1, 1, 1, tzinfo=UTC)

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
        created_at=record["created_at"],
        scheduled_at=record["scheduled_at"],
        attempted_at=record["attempted_at"],
        finalized_at=record["finalized_at"],
        attempted_by=tuple(record["attempted_by"] or ()),
        errors=tuple(parse_error(text) for text in record["errors"] or ()),
        metadata=json.loads(record["metadata"]),
        tags=tuple(record["tags"]),
        unique_key=record["unique_key"],
        unique_states=() if states is None else tuple(s for s, bit in STATE_BITS.items() if states & bit),
    )


def readable_part(record: Any) -> JobRow:
    """What can be decoded of a row that cannot be decoded whole, for those who are told of its failure."""
    return JobRow(
        id=record["id"],
        kind=record["kind"],
        queue=record["queue"],
        state=JobState(record["state"]),
        args=json_object(record["args"]),
        attempt=record["attempt"],
        max_attempts=record["max_attempts"],
        priority=record["priority"],
        created_at=record["created_at"],
        scheduled_at=record["scheduled_at"],
        attempted_at=record["attempted_at"],
        attempted_by=tuple(record["attempted_by"] or ()),
        # Their number decides when the job runs again.
        errors=tuple(AttemptError(_NO_TIME, 0, text, "") for text in record["errors"] or ()),
        metadata=json_object(record["metadata"]),
        tags=tuple(record["tags"]),
    )


def json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text is; nothing where it is something else, or cannot be decoded."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def parse_error(text: str) -> AttemptError:
    """Decode one element of ``river_job.errors``, leniently as River does: what has another form must not hide the job.

    Raises:
        ValueError: it is not JSON.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        return AttemptError(at=_NO_TIME, attempt=0, error=_text(value), trace="")
    return AttemptError(
        at=_time(value.get("at")),
        attempt=_whole(value.get("attempt")),
        error=_text(value.get("error")),
        trace=_text(value.get("trace")),
    )


def _time(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return _NO_TIME
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
