"""Rows of ``river_job`` as values: the columns to select and how they are decoded."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rivermill.job import AttemptError, JobRow, JobState

_COLUMNS = (
    "id, kind, queue, state::text AS state, args::text AS args, attempt, max_attempts, priority, created_at, "
    "scheduled_at, attempted_at, finalized_at, attempted_by, errors::text[] AS errors, metadata::text AS metadata, "
    "tags, unique_key, unique_states::int AS unique_states"
)

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
        ValueError: an element of ``errors`` is not of River's form.
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


def parse_error(text: str) -> AttemptError:
    """Decode one element of ``river_job.errors``.

    Raises:
        ValueError: it is not an object with ``at``, ``attempt``, ``error`` and ``trace``.
    """
    try:
        value = json.loads(text)
        return AttemptError(
            at=datetime.fromisoformat(value["at"]),
            attempt=int(value["attempt"]),
            error=str(value["error"]),
            trace=str(value["trace"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"river_job.errors element is not of River's form: {text[:80]}") from error
