"""How an attempt ended, and what the row becomes. Pure. Mirrors River's ``internal/jobexecutor/job_executor.go``."""

from __future__ import annotations

import asyncio
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rivermill.errors import JobCancel, JobFailure, JobInterruptedError, JobSnooze, JobTimeoutError, RivermillError
from rivermill.job import JobState

#: A job that is due again within this is made ``available`` at once; the scheduler would come no earlier.
SCHEDULER_INTERVAL = timedelta(seconds=5)
#: Of an error's message and of its trace: each attempt adds both to the row, which every claim and list reads.
MOST_CHARACTERS = 32_768
#: How a worker ends that has not failed, in River's order.
_ENDS = (JobSnooze, JobCancel, JobInterruptedError, asyncio.CancelledError)
#: In the metadata of a job that was rescued: how often.
RESCUE_COUNT = "river:rescue_count"
REMOTE_CANCEL = "JobCancelError: job cancelled remotely"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The facts about one attempt that its outcome depends on.

    Attributes:
        cancel_requested: whether someone asked for the running job to be cancelled.
        stopping: whether this client wants the job back because it stops.
        handler_cancelled: whether the error handler cancelled the job.
        updates: metadata recorded by the worker, merged whatever the outcome.
    """

    job_id: int
    attempt: int
    max_attempts: int
    started_at: datetime
    metadata: Mapping[str, Any]
    cancel_requested: bool = False
    stopping: bool = False
    handler_cancelled: bool = False
    updates: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What to write to one row; None leaves a column alone.

    Attributes:
        outcome: the label of the metric and the log: ``completed``, ``failed``, ``discarded``, ``cancelled``, ``snoozed``
            or ``interrupted``.
        error: an element of ``river_job.errors``, as JSON text.
        metadata: JSON text merged into the row's metadata.
        claimed_at: the row's ``attempted_at`` as it was claimed, epoch seconds; None is any.
        ended_at: when the attempt had ended, monotonic seconds.
    """

    job_id: int
    state: JobState
    outcome: str
    attempt: int | None = None
    error: str | None = None
    scheduled_at: datetime | None = None
    metadata: str | None = None
    claimed_at: float | None = None
    ended_at: float = field(default_factory=time.monotonic, compare=False, repr=False)

    @property
    def plain(self) -> bool:
        """Whether this is a success with nothing else to write."""
        return self.state is JobState.COMPLETED and self.metadata is None


def decide(attempt: Attempt, error: BaseException | None, *, now: datetime, next_retry: Callable[[], datetime]) -> Completion:
    """What an attempt's end means for its row.

    Args:
        attempt: the attempt.
        error: what the worker raised; None is success.
        now: the client's clock, aware.
        next_retry: when to run again, if the attempt failed.
    """
    if error is None:
        return Completion(attempt.job_id, JobState.COMPLETED, "completed", metadata=encode_updates(attempt.updates))
    if attempt.cancel_requested:
        return _cancelled(attempt, REMOTE_CANCEL)
    if isinstance(error, JobSnooze):
        return _snoozed(attempt, error, now)
    if isinstance(error, JobCancel):
        return _cancelled(attempt, f"JobCancelError: {error.reason}")
    if attempt.stopping and is_interruption(error):
        return Completion(
            attempt.job_id,
            JobState.AVAILABLE,
            "interrupted",
            attempt=max(attempt.attempt - 1, 0),
            scheduled_at=now,
            metadata=encode_updates(attempt.updates),
        )
    return _failed(attempt, error, now, next_retry)


def meant_by(error: BaseException) -> BaseException:
    """What a worker means by what it raised.

    A group, as ``asyncio.TaskGroup`` makes one of what its tasks raised, means what is in it where that is outcomes and
    interruptions only, or a single ``JobFailure``. River's outcomes are found in errors that wrap them, too, in this order.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    if len(leaves) == 1 and isinstance(leaves[0], JobFailure):
        return leaves[0]
    if not all(isinstance(leaf, _ENDS) for leaf in leaves):
        return error
    return next(leaf for kind in _ENDS for leaf in leaves if isinstance(leaf, kind))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors in a group and in the groups within it, in their order."""
    left: list[BaseException] = [group]
    while left:
        error = left.pop()
        if isinstance(error, BaseExceptionGroup):
            left.extend(reversed(error.exceptions))
        else:
            yield error


def is_interruption(error: BaseException | None) -> bool:
    """Whether a worker ended because it was told to."""
    return isinstance(error, asyncio.CancelledError | JobInterruptedError)


def is_failure(attempt: Attempt, error: BaseException | None) -> bool:
    """Whether an end is one that the error handler sees: neither success nor asked for by anybody."""
    if error is None or attempt.cancel_requested or isinstance(error, JobSnooze | JobCancel):
        return False
    return not (attempt.stopping and is_interruption(error))


def river_time(at: datetime) -> str:
    """A time as Go writes it into JSON: RFC 3339, ``Z`` for UTC, no zeros at the end of the fraction."""
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def error_element(at: datetime, attempt: int, message: str, trace: str = "") -> str:
    """An element of ``river_job.errors`` that every River client can decode."""
    value = {"at": river_time(at), "attempt": attempt, "error": shortened(message), "trace": shortened(trace)}
    # jsonb refuses NUL, and half a surrogate pair cannot be sent at all.
    text = json.dumps(value, ensure_ascii=True).replace("\\u0000", "\\ufffd")
    return json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace").decode()


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of at most about so many characters: a longer one loses its middle."""
    left_out = len(text) - most
    if left_out <= 0:
        return text
    return f"{text[: most // 2]}\n… {left_out} characters are left out here …\n{text[len(text) - most // 2 :]}"


def encode_updates(updates: Mapping[str, Any] | None) -> str | None:
    """Metadata to merge as JSON text; None when there is none."""
    return msgspec.json.encode(updates).decode() if updates else None


def _cancelled(attempt: Attempt, message: str, trace: str = "") -> Completion:
    element = error_element(attempt.started_at, attempt.attempt, message, trace)
    return Completion(attempt.job_id, JobState.CANCELLED, "cancelled", error=element, metadata=encode_updates(attempt.updates))


def _snoozed(attempt: Attempt, snooze: JobSnooze, now: datetime) -> Completion:
    state = JobState.AVAILABLE if snooze.delay <= SCHEDULER_INTERVAL else JobState.SCHEDULED
    updates = {**(attempt.updates or {}), "snoozes": _count(attempt.metadata.get("snoozes")) + 1}
    return Completion(
        attempt.job_id,
        state,
        "snoozed",
        attempt=max(attempt.attempt - 1, 0),
        scheduled_at=now + snooze.delay,
        metadata=encode_updates(updates),
    )


def _failed(attempt: Attempt, error: BaseException, now: datetime, next_retry: Callable[[], datetime]) -> Completion:
    message, trace = describe_error(error)
    if attempt.handler_cancelled:
        return _cancelled(attempt, message, trace)
    element = error_element(attempt.started_at, attempt.attempt, message, trace)
    metadata = encode_updates(attempt.updates)
    if attempt.attempt >= attempt.max_attempts:
        return Completion(attempt.job_id, JobState.DISCARDED, "discarded", error=element, metadata=metadata)
    due = next_retry()
    state = JobState.AVAILABLE if due - now <= SCHEDULER_INTERVAL else JobState.RETRYABLE
    return Completion(attempt.job_id, state, "failed", error=element, scheduled_at=due, metadata=metadata)


def describe_error(error: BaseException) -> tuple[str, str]:
    """The message and the trace to record for what a worker raised; what nobody raised, such as an unknown kind, has none."""
    if isinstance(error, JobFailure):
        return error_text(error), ""
    origin = error.__cause__ if isinstance(error, JobTimeoutError) and error.__cause__ is not None else error
    remote = getattr(origin, "remote_trace", None)
    raised = "".join(traceback.format_exception(origin)) if origin.__traceback__ else ""
    trace = remote if isinstance(remote, str) else raised
    return error_text(error), trace


def error_text(error: BaseException) -> str:
    """An error's type and what it says, as a traceback ends; of ours, whose sentences are whole, only what they say.

    A group says nothing of what is in it, so its first error follows.
    """
    said, name = error_says(error), type(error).__name__
    if isinstance(error, RivermillError):
        return said or name
    text = f"{name}: {said}" if said else name
    return f"{text}, first {error_text(next(_leaves(error)))}" if isinstance(error, BaseExceptionGroup) else text


def error_says(error: BaseException) -> str:
    """What an error says, which may be nothing."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error of the application's whose own __str__ fails must not cost its record
        return ""


def _count(value: Any) -> int:
    """River reads an earlier count leniently: numbers truncated, integer strings, true as 1, all else 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return 0
    return 0
