"""Turns written completions into events, when anybody has subscribed. Mirrors a part of River's ``job_completer.go``.

What happened is read from the row that came back, not from what was to be written: somebody else may have finished the job
in the meantime, or asked for its cancellation.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rivermill.db import Connection
from rivermill.events import Event, EventKind, JobStats, Subscribers
from rivermill.job import JobState
from rivermill.rows import job_columns, readable_job
from rivermill.schema import Schema

_BY_STATE = {
    JobState.CANCELLED: EventKind.JOB_CANCELLED,
    JobState.COMPLETED: EventKind.JOB_COMPLETED,
    JobState.DISCARDED: EventKind.JOB_FAILED,
    JobState.RETRYABLE: EventKind.JOB_FAILED,
    JobState.SCHEDULED: EventKind.JOB_SNOOZED,
}
#: Seconds; a job may be due since ever (``-infinity``), which is no ``timedelta``.
_LONGEST_WAIT = 1e9
_AVAILABLE = {"snoozed": EventKind.JOB_SNOOZED, "interrupted": EventKind.JOB_INTERRUPTED, "returned": None}


def event_kind(state: JobState, outcome: str) -> EventKind | None:
    """Which event the end of an attempt is.

    Args:
        state: of the row that came back.
        outcome: what was to be written.

    Returns:
        None where the row is in a state that no attempt ends in, or the job was only given back.
    """
    if state is JobState.AVAILABLE:
        return _AVAILABLE.get(outcome, EventKind.JOB_FAILED)
    return _BY_STATE.get(state)


Written = tuple[Any, str]
"""A row as it was written, and the outcome that it was to have."""


@dataclass(frozen=True, slots=True)
class _Ended:
    at: float
    queue_wait: timedelta
    run: timedelta


class JobEvents:
    """Emits the events of jobs.

    Args:
        schema: where River's tables are.
        subscribers: those who may want them.
    """

    def __init__(self, schema: Schema, subscribers: Subscribers) -> None:
        self._subscribers = subscribers
        self._ended: dict[int, _Ended] = {}
        self._others = f"SELECT {job_columns()} FROM {schema.table('river_job')} WHERE id = ANY($1::bigint[])"

    @property
    def wanted(self) -> bool:
        """Whether anybody wants them."""
        return self._subscribers.want_jobs

    def ended(self, job_id: int, started: float, ended: float, scheduled_at: float) -> None:
        """An attempt has ended.

        Args:
            job_id: the job.
            started: when it began, monotonic seconds.
            ended: when it ended, monotonic seconds.
            scheduled_at: when it was due, epoch seconds.
        """
        began = time.time() - (time.monotonic() - started)
        wait = timedelta(seconds=min(began - scheduled_at, _LONGEST_WAIT))
        self._ended[job_id] = _Ended(ended, wait, timedelta(seconds=ended - started))

    async def write(
        self, connection: Connection, sql: str, args: tuple[Any, ...], outcomes: Mapping[int, str]
    ) -> list[Written]:
        """Write completions.

        Args:
            connection: what to write on.
            sql: the statement; it must return the columns of the rows it changes.
            args: its parameters.
            outcomes: what is to be written, by job.

        Returns:
            What to emit once it is committed.
        """
        records = await connection.fetch(sql, *args)
        unchanged = outcomes.keys() - {record["id"] for record in records}
        if unchanged:
            records = [*records, *await connection.fetch(self._others, list(unchanged))]
        return [(record, outcomes[record["id"]]) for record in records]

    def emit(self, written: Iterable[Written]) -> None:
        """Emit what came of each."""
        now = time.monotonic()
        for record, outcome in written:
            row = readable_job(record)
            ended = self._ended.pop(row.id, None)
            kind = event_kind(row.state, outcome)
            if kind is not None:
                self._subscribers.emit(Event(kind, job=row, stats=_stats(ended, now)))
        if not self.wanted:
            self._ended.clear()


def _stats(ended: _Ended | None, now: float) -> JobStats | None:
    return None if ended is None else JobStats(ended.queue_wait, ended.run, timedelta(seconds=now - ended.at))
