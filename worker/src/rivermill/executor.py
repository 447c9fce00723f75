"""Executes claimed jobs: async workers on the loop, plain ones in threads."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.completer import Completer
from rivermill.errors import ArgsDecodeError, JobOutcome, RivermillError
from rivermill.job import Job, JobRow
from rivermill.metrics import Metrics
from rivermill.outcome import Attempt, decide
from rivermill.retry import retry_delay
from rivermill.rows import job_from_record
from rivermill.worker import Registration, Workers

logger = logging.getLogger("rivermill.executor")


class JobTimeoutError(RivermillError):
    """An attempt took longer than its timeout."""


@dataclass(slots=True, eq=False)
class _Running:
    """One attempt in progress."""

    job_id: int
    queue: str
    kind: str
    task: asyncio.Task[None] | None = None
    cancel_requested: bool = False
    stopping: bool = False
    timed_out: bool = False
    entered: bool = False
    done: bool = False
    started: float = field(default_factory=time.monotonic)


class Executor:
    """Runs jobs and hands their outcomes to the completer.

    Args:
        workers: the kinds that can be executed.
        completer: takes the outcomes.
        metrics: where attempts are counted.
        slots: the most jobs at once, which is also the number of threads.
        job_timeout: the client's default; None is no limit.
        on_free: called with the queue whenever a slot becomes free.
    """

    def __init__(
        self,
        workers: Workers,
        completer: Completer,
        metrics: Metrics,
        *,
        slots: int,
        job_timeout: timedelta | None,
        on_free: Callable[[str], None],
    ) -> None:
        self._workers = workers
        self._completer = completer
        self._metrics = metrics
        self._job_timeout = job_timeout
        self._on_free = on_free
        self._running: dict[int, _Running] = {}
        self._by_queue: dict[str, int] = {}
        self._threads = ThreadPoolExecutor(max_workers=slots, thread_name_prefix="rivermill-job")
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """Jobs that hold a slot."""
        return len(self._running)

    def busy_in(self, queue: str) -> int:
        """Jobs of one queue that hold a slot."""
        return self._by_queue.get(queue, 0)

    def job_ids(self) -> list[int]:
        """The jobs that hold a slot."""
        return list(self._running)

    def submit(self, record: Any) -> None:
        """Start executing a claimed row."""
        running = _Running(record["id"], record["queue"], record["kind"])
        self._running[running.job_id] = running
        self._by_queue[running.queue] = self.busy_in(running.queue) + 1
        self._idle.clear()
        running.task = asyncio.create_task(self._execute(running, record), name=f"job {running.job_id}")

    def cancel(self, job_id: int) -> None:
        """Cancel a job on behalf of someone outside, if it runs here."""
        running = self._running.get(job_id)
        if running is not None and not running.done:
            running.cancel_requested = True
            self._interrupt(running)

    def soft_stop(self) -> None:
        """Give every running job back: its row becomes ``available`` and the attempt does not count."""
        for running in list(self._running.values()):
            if not running.done:
                running.stopping = True
                self._interrupt(running)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        await self._idle.wait()

    def close(self) -> None:
        """Release the threads; those that still run a job are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _interrupt(running: _Running) -> None:
        # A task cancelled before its first step never runs at all, and so would never free its slot.
        if running.task is not None and running.entered:
            running.task.cancel()

    async def _execute(self, running: _Running, record: Any) -> None:
        running.entered = True
        try:
            attempt, job, registration, error = self._prepare(running, record)
            if error is None and registration is not None and job is not None:
                error = await self._work(running, registration, job)
            running.done = True
            attempt = Attempt(
                attempt.job_id,
                attempt.attempt,
                attempt.max_attempts,
                attempt.errors,
                attempt.started_at,
                attempt.metadata,
                cancel_requested=running.cancel_requested,
                stopping=running.stopping and isinstance(error, asyncio.CancelledError),
            )
            await self._finish(running, attempt, job, registration, error)
        finally:
            self._release(running)

    def _prepare(
        self, running: _Running, record: Any
    ) -> tuple[Attempt, Job[Any] | None, Registration | None, BaseException | None]:
        """Decode a row. What cannot be decoded is an ordinary failure of this job and of no other."""
        now = datetime.now(UTC)
        errors = len(record["errors"] or ())
        registration = self._workers.get(running.kind)
        row: JobRow | None = None
        error: BaseException | None = None
        job: Job[Any] | None = None
        try:
            row = job_from_record(record)
            if registration is None:
                error = RivermillError(f"job kind is not registered in the client's Workers bundle: {running.kind}")
            else:
                job = Job(registration.decode(record["args"]), row)
        except (ValueError, ArgsDecodeError) as decode_error:
            error = decode_error
        metadata = dict(row.metadata or {}) if row is not None else _lenient_object(record["metadata"])
        attempt = Attempt(running.job_id, record["attempt"], record["max_attempts"], errors, now, metadata)
        return attempt, job, registration, error

    async def _work(self, running: _Running, registration: Registration, job: Job[Any]) -> BaseException | None:
        if running.cancel_requested or running.stopping:
            return asyncio.CancelledError()
        timeout = registration.timeout(self._job_timeout)
        handle = None
        if timeout is not None:
            handle = asyncio.get_running_loop().call_later(timeout.total_seconds(), self._time_out, running)
        try:
            if registration.is_async:
                result = registration.worker.work(job)
                if result is not None:
                    await result
            else:
                context = contextvars.copy_context()
                await asyncio.get_running_loop().run_in_executor(self._threads, context.run, registration.worker.work, job)
        except JobOutcome as outcome:
            return outcome
        except asyncio.CancelledError as cancelled:
            if running.timed_out:
                return JobTimeoutError(f"timed out after {timeout}")
            # A worker may cancel itself; that is a failure like any other, unless somebody asked for it.
            return cancelled
        except Exception as error:  # noqa: BLE001 - whatever a worker raises is recorded on its job
            return error
        finally:
            if handle is not None:
                handle.cancel()
        return None

    def _time_out(self, running: _Running) -> None:
        if not running.done:
            running.timed_out = True
            self._interrupt(running)

    async def _finish(
        self,
        running: _Running,
        attempt: Attempt,
        job: Job[Any] | None,
        registration: Registration | None,
        error: BaseException | None,
    ) -> None:
        now = datetime.now(UTC)

        def next_retry(errors: int) -> datetime:
            chosen = self._own_next_retry(registration, job)
            return chosen if chosen is not None and chosen >= now else now + retry_delay(errors)

        completion = decide(attempt, error, now=now, next_retry=next_retry)
        self._metrics.jobs.labels(running.queue, running.kind, completion.outcome).inc()
        self._metrics.job_seconds.labels(running.queue).observe(time.monotonic() - running.started)
        if completion.outcome in ("failed", "discarded"):
            logger.warning(
                "job %s",
                completion.outcome,
                extra={"job_id": running.job_id, "kind": running.kind, "error": str(error)},
            )
        await self._completer.add(completion)

    @staticmethod
    def _own_next_retry(registration: Registration | None, job: Job[Any] | None) -> datetime | None:
        if registration is None or job is None:
            return None
        try:
            return registration.next_retry(job)
        except Exception:
            logger.exception("next_retry failed; the client's policy is used", extra={"kind": registration.kind})
            return None

    def _release(self, running: _Running) -> None:
        self._running.pop(running.job_id, None)
        self._by_queue[running.queue] -= 1
        if not self._running:
            self._idle.set()
        self._on_free(running.queue)


def _lenient_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
