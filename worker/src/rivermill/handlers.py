"""What an application may have called when jobs fail or do not end: the error handler and the stuck-job handler."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from rivermill.errors import WorkerCrashError
from rivermill.job import JobRow

logger = logging.getLogger("rivermill.executor")


@dataclass(frozen=True, slots=True)
class ErrorHandlerResult:
    """What is to become of a failed job; ``set_cancelled`` cancels it, whatever attempts are left."""

    set_cancelled: bool = False


class ErrorHandler(Protocol):
    """Sees every failed attempt before it is recorded. Mirrors River's ``ErrorHandler``.

    Not called for success, snoozes, cancellations and jobs that are given back because the client stops. The job keeps its slot
    meanwhile, so a handler is cancelled after ``job_stuck_threshold``.
    """

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult | None:
        """The worker raised ``error``, or its kind is unknown, or the row could not be decoded."""
        ...

    async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> ErrorHandlerResult | None:
        """The worker raised what is no ``Exception``, such as ``SystemExit``, or its process died."""
        ...


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A job that went on running for ``job_stuck_threshold`` after it timed out or was cancelled.

    Attributes:
        total: jobs of this client that are stuck now, this one included.
    """

    id: int
    kind: str
    queue: str
    total: int


StuckHandler = Callable[[StuckJob], bool]
"""Told of each stuck job; returning True opens another slot in its place, though the job still runs."""


async def ask_error_handler(handler: ErrorHandler, job: JobRow, error: BaseException, trace: str, limit: timedelta) -> bool:
    """Whether the handler cancels the job; what it raises is logged and counts as no, as does no answer within ``limit``."""
    panic = not isinstance(error, Exception) or isinstance(error, WorkerCrashError)
    try:
        async with asyncio.timeout(limit.total_seconds()) as patience:
            answer: Awaitable[ErrorHandlerResult | None] | ErrorHandlerResult | None
            answer = handler.handle_panic(job, error, trace) if panic else handler.handle_error(job, error)
            result = await answer if inspect.isawaitable(answer) else answer
    except (Exception, asyncio.CancelledError):
        # Whatever it is, the outcome of the attempt is still to be recorded.
        what = f"did not end within {limit}" if patience.expired() else "failed"
        logger.exception("the error handler %s", what, extra={"job_id": job.id, "kind": job.kind})
        return False
    return result is not None and result.set_cancelled
