"""What an application may have called when jobs fail or do not end: the error handler and the stuck-job handler."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from rivermill.errors import ConfigError, WorkerCrashError
from rivermill.job import JobRow
from rivermill.worker import is_async_callable

#: What a handler may take at least: an attempt may be stuck at once, while a report takes its time on a network.
LEAST_PATIENCE = timedelta(seconds=10)

logger = logging.getLogger("rivermill.executor")


@dataclass(frozen=True, slots=True)
class ErrorHandlerResult:
    """What is to become of a failed job; ``set_cancelled`` cancels it, whatever attempts are left.

    Mirrors River's ``ErrorHandlerResult``.
    """

    set_cancelled: bool = False


HandlerAnswer = Awaitable[ErrorHandlerResult | None] | ErrorHandlerResult | None
"""What an error handler returns, or what that is awaited for: its methods may be ``async``, or plain where nothing waits."""


class ErrorHandler(Protocol):
    """Sees every failed attempt before it is recorded. Mirrors River's ``ErrorHandler``.

    Not called for success, snoozes, cancellations and jobs that are given back because the client stops. The job keeps its slot
    meanwhile, so a handler is cancelled after ``job_stuck_threshold``, or after 10 s if that is less.
    """

    def handle_error(self, job: JobRow, error: BaseException) -> HandlerAnswer:
        """The worker raised ``error``, or its kind is unknown, or the row could not be decoded."""
        ...

    def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> HandlerAnswer:
        """The worker raised what is no ``Exception``, such as ``SystemExit``, or its process died."""
        ...


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A job that went on running for ``job_stuck_threshold`` after it timed out or was cancelled.

    Mirrors what River's ``JobStuckHandler`` is told.

    Attributes:
        total: jobs of this client that are stuck now, this one included.
    """

    id: int
    kind: str
    queue: str
    total: int


StuckHandler = Callable[[StuckJob], bool]
"""Told of each stuck job; returning True opens another slot in its place, though the job still runs. It may not be async."""


def check_error_handler(handler: Any) -> None:
    """Check that it is None or has the methods of an ``ErrorHandler``.

    Raises:
        ConfigError: it is something else.
    """
    methods = (getattr(handler, "handle_error", None), getattr(handler, "handle_panic", None))
    if handler is not None and (isinstance(handler, type) or not all(map(callable, methods))):
        raise ConfigError(
            f"error_handler {handler!r}: use an object with the methods handle_error(job, error) and "
            "handle_panic(job, error, trace)"
        )


def check_stuck_handler(handler: Any) -> None:
    """Check that it is None or a plain function.

    Raises:
        ConfigError: it is something else.
    """
    if handler is None:
        return
    if not callable(handler) or is_async_callable(handler):
        raise ConfigError(f"job_stuck_handler {handler!r}: use a plain function of a StuckJob that returns True or False")


async def ask_error_handler(handler: ErrorHandler, job: JobRow, error: BaseException, trace: str, limit: timedelta) -> bool:
    """Whether the handler cancels the job; what it raises is logged and counts as no, as does no answer in time.

    That is ``limit``, or ``LEAST_PATIENCE`` if it is more.
    """
    limit = max(limit, LEAST_PATIENCE)
    panic = not isinstance(error, Exception) or isinstance(error, WorkerCrashError)
    try:
        async with asyncio.timeout(limit.total_seconds()) as patience:
            answer = handler.handle_panic(job, error, trace) if panic else handler.handle_error(job, error)
            result = await answer if inspect.isawaitable(answer) else answer
            if result is not None and not isinstance(result, ErrorHandlerResult):
                raise TypeError(f"it returned {result!r}: return an ErrorHandlerResult, or None")
    except (Exception, asyncio.CancelledError, SystemExit):
        # Whatever it is, the outcome of the attempt is still to be recorded.
        what = f"did not end within {limit}" if patience.expired() else "failed"
        facts = {"job_id": job.id, "kind": job.kind, "what": what}
        logger.exception("the error handler %(what)s, asked about job %(job_id)s of kind %(kind)s", facts, extra=facts)
        return False
    return result is not None and result.set_cancelled


def ask_stuck_handler(handler: StuckHandler | None, job: StuckJob) -> bool:
    """Whether the handler, if any, wants another slot opened; what it raises is logged and is a no, as is an awaitable."""
    if handler is None:
        return False
    try:
        answer: Any = handler(job)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError(f"it returned a {type(answer).__name__}, which nobody awaits: return True or False")
        return bool(answer)
    except Exception:
        facts = {"job_id": job.id, "kind": job.kind}
        logger.exception("the stuck-job handler failed, told of job %(job_id)s of kind %(kind)s", facts, extra=facts)
        return False
