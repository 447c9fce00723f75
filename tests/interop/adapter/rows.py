"""Rows the way the contract writes them: stored JSON passes through as text, times as Go writes them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from rivermill import AttemptError, JobRow, gojson

_NANOSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,8}[1-9]Z")
_NONCE = "river:unique_nonce"


def encode_job(row: JobRow) -> dict[str, Any]:
    """One row."""
    return {
        "args": msgspec.Raw(row.encoded_args.encode()),
        "attempt": row.attempt,
        "attempted_at": encode_time(row.attempted_at),
        "attempted_by": row.attempted_by,
        "created_at": encode_time(row.created_at),
        "errors": [{"at": _error_time(e), "attempt": e.attempt, "error": e.error, "trace": e.trace} for e in row.errors],
        "finalized_at": encode_time(row.finalized_at),
        "id": row.id,
        "kind": row.kind,
        "max_attempts": row.max_attempts,
        "metadata": _without_nonce(row.encoded_metadata),
        "priority": row.priority,
        "queue": row.queue,
        "scheduled_at": encode_time(row.scheduled_at),
        "state": row.state,
        "tags": row.tags,
        "unique_key": row.unique_key.hex() if row.unique_key is not None else None,
        "unique_states": sorted(row.unique_states) if row.unique_key is not None else None,
    }


def encode_time(at: datetime | None) -> str | None:
    """A time in UTC."""
    return None if at is None else gojson.encode_time(at)


def _error_time(error: AttemptError) -> str | None:
    """With nanoseconds, if there are any."""
    if _NANOSECONDS.fullmatch(error.encoded_at):
        return error.encoded_at
    return encode_time(error.at)


def _without_nonce(metadata: str) -> msgspec.Raw:
    """It differs by nature between two inserts."""
    if _NONCE not in metadata:
        return msgspec.Raw(metadata.encode())
    members = msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])
    members.pop(_NONCE, None)
    return msgspec.Raw(msgspec.json.encode(members))
