"""How an attempt ended, and what the row becomes. Pure. Mirrors River's ``internal/jobexecutor/job_executor.go``."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rivermill.errors import JobCancel, JobSnooze
from rivermill.job import JobState

#: A job that is due again within this is made ``available`` at once; the scheduler would come no earlier.
SCHEDULER_INTERVAL = timedelta(seconds=5)
REMOTE_CANCEL = "JobCancelError: job cancelled remotely"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The facts about one attempt that its outcome depends on.

    Attributes:
        errors: failures recorded before this attempt.
        cancel_requested: whether someone asked for the running job to be cancelled.
        stopping: whether this client gave the job back because it stops.
    """

    job_id: int
    attempt: int
    max_attempts: int
    errors: int
    started_at: datetime
    metadata: dict[str, Any]
    cancel_requested: bool = False
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What to write to one row; None leaves a column alone.

    Attributes:
        outcome: the label of the metric and the log: ``completed``, ``failed``, ``discarded``, ``cancelled``, ``snoozed``
            or ``interrupted``.
        error: an element of ``river_job.errors``, as JSON text.
        metadata: JSON text merged into the row's metadata.
    """

    job_id: int
    state: JobState
    outcome: str
    attempt: int | None = None
    error: str | None = None
    scheduled_at: datetime | None = None
    metadata: str | None = None

    @property
    def plain(self) -> bool:
        """Whether this is a success with nothing else to write."""
        return self.state is JobState.COMPLETED and self.metadata is None


def decide(
    attempt: Attempt, error: BaseException | None, *, now: datetime, next_retry: Callable[[int], datetime]
) -> Completion:
    """What an attempt's end means for its row.

    Args:
        attempt: the attempt.
        error: what the worker raised; None is success.
        now: the client's clock, aware.
        next_retry: number of failures, this one included → when to run again.
    """
    if error is None:
        return Completion(attempt.job_id, JobState.COMPLETED, "completed")
    if attempt.cancel_requested:
        return _cancelled(attempt, REMOTE_CANCEL)
    if attempt.stopping:
        return Completion(
            attempt.job_id, JobState.AVAILABLE, "interrupted", attempt=max(attempt.attempt - 1, 0), scheduled_at=now
        )
    if isinstance(error, JobCancel):
        return _cancelled(attempt, f"JobCancelError: {error.reason}")
    if isinstance(error, JobSnooze):
        return _snoozed(attempt, error, now)
    return _failed(attempt, error, now, next_retry)


def error_element(at: datetime, attempt: int, message: str, trace: str = "") -> str:
    """An element of ``river_job.errors`` that every River client can decode."""
    value = {"at": at.isoformat().replace("+00:00", "Z"), "attempt": attempt, "error": message, "trace": trace}
    # jsonb refuses NUL, and half a surrogate pair cannot be sent at all.
    text = json.dumps(value, ensure_ascii=True).replace("\\u0000", "\\ufffd")
    return json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace").decode()


def _cancelled(attempt: Attempt, message: str) -> Completion:
    element = error_element(attempt.started_at, attempt.attempt, message)
    return Completion(attempt.job_id, JobState.CANCELLED, "cancelled", error=element)


def _snoozed(attempt: Attempt, snooze: JobSnooze, now: datetime) -> Completion:
    state = JobState.AVAILABLE if snooze.delay <= SCHEDULER_INTERVAL else JobState.SCHEDULED
    return Completion(
        attempt.job_id,
        state,
        "snoozed",
        attempt=max(attempt.attempt - 1, 0),
        scheduled_at=now + snooze.delay,
        metadata=json.dumps({"snoozes": _count(attempt.metadata.get("snoozes")) + 1}),
    )


def _failed(attempt: Attempt, error: BaseException, now: datetime, next_retry: Callable[[int], datetime]) -> Completion:
    message = str(error) or type(error).__name__
    element = error_element(attempt.started_at, attempt.attempt, message, "".join(traceback.format_exception(error)))
    if attempt.attempt >= attempt.max_attempts:
        return Completion(attempt.job_id, JobState.DISCARDED, "discarded", error=element)
    due = next_retry(attempt.errors + 1)
    state = JobState.AVAILABLE if due - now <= SCHEDULER_INTERVAL else JobState.RETRYABLE
    return Completion(attempt.job_id, state, "failed", error=element, scheduled_at=due)


def _count(value: Any) -> int:
    """River reads an earlier count leniently: numbers truncated, integer strings, true as 1, all else 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return 0
    return 0
