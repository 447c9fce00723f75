"""Executes claimed jobs: async workers on the loop, plain ones in threads.

Whatever is done for every job bounds the rate of short ones, once statements are batched. So nothing is done twice, there is
one timer for all deadlines, and what a worker does not look at is not decoded.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.completer import Completer
from rivermill.deadlines import Deadlines
from rivermill.errors import ArgsDecodeError, JobOutcome, RivermillError
from rivermill.job import Job, JobRow, JobState
from rivermill.metrics import Metrics
from rivermill.outcome import Attempt, Completion, decide
from rivermill.retry import retry_delay
from rivermill.rows import job_from_record
from rivermill.slots import QueueSlots, Slots
from rivermill.tallies import Spread, Tally
from rivermill.worker import Registration, Workers

#: A job that was claimed ahead is given back when no slot became free for it within this many seconds.
AHEAD_SECONDS = 0.1

logger = logging.getLogger("rivermill.executor")


class JobTimeoutError(RivermillError):
    """An attempt took longer than its timeout."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What all jobs of one kind in one queue have in common."""

    queue: str
    name: str
    registration: Registration | None
    timeout: timedelta | None
    timeout_seconds: float | None
    completed: Tally
    seconds: Spread


class _Claimed:
    """One claimed job. Made for every job, so most of it is the class's until it changes."""

    task: asyncio.Task[None] | None = None
    cancel_requested = False
    stopping = False
    timed_out = False
    entered = False
    done = False

    def __init__(self, record: Any, kind: _Kind, slots: QueueSlots[_Claimed], now: float) -> None:
        self.record = record
        self.id: int = record["id"]
        self.attempt: int = record["attempt"]
        self.kind_info = kind
        self.slots = slots
        self.at = now

    @property
    def kind(self) -> str:
        return self.kind_info.name

    def decode(self) -> JobRow:
        return job_from_record(self.record)


class Executor:
    """Runs jobs and hands their outcomes to the completer.

    Args:
        workers: the kinds that can be executed.
        completer: takes the outcomes.
        metrics: where attempts are counted.
        slots: the most jobs at once, which is also the number of threads.
        queues: queue → the most of its jobs at once.
        job_timeout: the client's default; None is no limit.
        on_free: called whenever a job has ended.
    """

    def __init__(
        self,
        workers: Workers,
        completer: Completer,
        metrics: Metrics,
        *,
        slots: int,
        queues: Mapping[str, int],
        job_timeout: timedelta | None,
        on_free: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._completer = completer
        self._metrics = metrics
        self._job_timeout = job_timeout
        self._on_free = on_free
        self._claimed: dict[int, _Claimed] = {}
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._slots: Slots[_Claimed] = Slots(slots, queues)
        self._waits = {name: metrics.wait_seconds.labels(name) for name in queues}
        self._deadlines: Deadlines[_Claimed] = Deadlines(self._time_out)
        self._give_back_timer: asyncio.TimerHandle | None = None
        self._threads = ThreadPoolExecutor(max_workers=slots, thread_name_prefix="rivermill-job")
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """Jobs that hold a slot."""
        return self._slots.running

    @property
    def held(self) -> int:
        """Jobs that are claimed: those that hold a slot and those that wait for one."""
        return len(self._claimed)

    def held_in(self, queue: str) -> int:
        """Jobs of one queue that are claimed."""
        return self._slots.queues[queue].held

    def ended_in(self, queue: str) -> int:
        """Jobs of one queue that have ended so far."""
        return self._slots.queues[queue].ended

    def job_ids(self) -> list[int]:
        """The jobs that are claimed."""
        return list(self._claimed)

    def submit(self, queue: str, records: Sequence[Any]) -> None:
        """Start executing claimed rows; those beyond the free slots wait, and are given back if that takes too long."""
        now = time.monotonic()
        slots, wait = self._slots.queues[queue], self._waits[queue]
        if len(records) > slots.max_workers - slots.running:
            # The order of a claim's rows is not that of its selection.
            records = sorted(records, key=lambda r: (r["priority"], r["scheduled_at"], r["id"]))
        for record in records:
            name = record["kind"]
            kind = self._kinds.get((queue, name)) or self._new_kind(queue, name)
            claimed = _Claimed(record, kind, slots, now)
            self._claimed[claimed.id] = claimed
            wait.observe((record["attempted_at"] - record["scheduled_at"]).total_seconds())
            if self._slots.admit(slots, claimed):
                self._start(claimed)
        self._idle.clear()
        self._watch_waiting()

    def cancel(self, job_id: int) -> None:
        """Cancel a job on behalf of someone outside, if it is here."""
        claimed = self._claimed.get(job_id)
        if claimed is not None and not claimed.done:
            claimed.cancel_requested = True
            if claimed.task is None:
                # It ends as a cancelled job at its first step.
                self._slots.seize(claimed.slots, claimed)
                self._start(claimed)
            else:
                self._interrupt(claimed)

    def soft_stop(self) -> None:
        """Give every job back: its row becomes ``available`` and the attempt does not count."""
        for claimed in self._slots.all_waiting():
            self._give_back(claimed)
        for claimed in list(self._claimed.values()):
            if not claimed.done:
                claimed.stopping = True
                self._interrupt(claimed)

    async def idle(self) -> None:
        """Wait until no job is here."""
        await self._idle.wait()

    def close(self) -> None:
        """Release the threads; those that still run a job are not waited for."""
        self._deadlines.close()
        if self._give_back_timer is not None:
            self._give_back_timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- one job ---

    def _new_kind(self, queue: str, name: str) -> _Kind:
        registration = self._workers.get(name)
        timeout = registration.timeout(self._job_timeout) if registration is not None else None
        kind = _Kind(
            queue,
            name,
            registration,
            timeout,
            None if timeout is None else timeout.total_seconds(),
            self._metrics.jobs.labels(queue, name, "completed"),
            self._metrics.job_seconds.labels(queue),
        )
        if registration is not None:
            # Kinds nobody knows are whatever somebody inserts, so they are not remembered.
            self._kinds[queue, name] = kind
        return kind

    def _start(self, claimed: _Claimed) -> None:
        claimed.task = asyncio.create_task(self._execute(claimed), name=f"job {claimed.id}")

    @staticmethod
    def _interrupt(claimed: _Claimed) -> None:
        # A task cancelled before its first step never runs at all, and so would never free its slot.
        if claimed.task is not None and claimed.entered:
            claimed.task.cancel()

    async def _execute(self, claimed: _Claimed) -> None:
        claimed.entered = True
        claimed.at = time.monotonic()
        kind = claimed.kind_info
        try:
            error = await self._attempt(claimed, kind)
            claimed.done = True
            if self._completer.full:
                await self._completer.wait_for_room()
            if error is None:
                self._completer.succeeded(claimed.id)
                kind.completed.inc()
            else:
                self._completer.add(self._failure(claimed, error))
            kind.seconds.observe(time.monotonic() - claimed.at)
        finally:
            self._release(claimed)

    async def _attempt(self, claimed: _Claimed, kind: _Kind) -> BaseException | None:
        """Run the worker; the error is what it raised. What cannot be decoded is a failure of this job and of no other."""
        registration = kind.registration
        if claimed.cancel_requested or claimed.stopping:
            return asyncio.CancelledError()
        if registration is None:
            return RivermillError(f"job kind is not registered in the client's Workers bundle: {kind.name}")
        try:
            job = Job(registration.decode(claimed.record["args"]), claimed)
            if kind.timeout_seconds is not None:
                self._deadlines.add(claimed.at + kind.timeout_seconds, claimed)
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
            if claimed.timed_out:
                return JobTimeoutError(f"timed out after {kind.timeout}")
            # A worker may cancel itself; that is a failure like any other, unless somebody asked for it.
            return cancelled
        except Exception as error:  # noqa: BLE001 - whatever a worker raises is recorded on its job
            return error
        return None

    def _time_out(self, claimed: _Claimed) -> None:
        claimed.timed_out = True
        self._interrupt(claimed)

    def _failure(self, claimed: _Claimed, error: BaseException) -> Completion:
        kind, record, now = claimed.kind_info, claimed.record, datetime.now(UTC)
        attempt = Attempt(
            claimed.id,
            claimed.attempt,
            record["max_attempts"],
            len(record["errors"] or ()),
            now - timedelta(seconds=time.monotonic() - claimed.at),
            _lenient_object(record["metadata"]),
            cancel_requested=claimed.cancel_requested,
            stopping=claimed.stopping and isinstance(error, asyncio.CancelledError),
        )

        def next_retry(errors: int) -> datetime:
            chosen = self._own_next_retry(kind.registration, claimed)
            return chosen if chosen is not None and chosen >= now else now + retry_delay(errors)

        completion = decide(attempt, error, now=now, next_retry=next_retry)
        self._metrics.jobs.labels(kind.queue, kind.name, completion.outcome).inc()
        if completion.outcome in ("failed", "discarded"):
            extra = {"job_id": claimed.id, "kind": kind.name, "error": str(error)}
            logger.warning("job %s", completion.outcome, extra=extra)
        return completion

    @staticmethod
    def _own_next_retry(registration: Registration | None, claimed: _Claimed) -> datetime | None:
        if registration is None:
            return None
        try:
            return registration.next_retry(Job(registration.decode(claimed.record["args"]), claimed))
        except ArgsDecodeError:
            return None
        except Exception:
            logger.exception("next_retry failed; the client's policy is used", extra={"kind": registration.kind})
            return None

    def _release(self, claimed: _Claimed) -> None:
        del self._claimed[claimed.id]
        successor = self._slots.release(claimed.slots)
        if successor is not None:
            self._start(successor)
        elif not self._claimed:
            self._idle.set()
        self._on_free()

    # --- jobs claimed ahead ---

    def _watch_waiting(self) -> None:
        if self._slots.waiting and self._give_back_timer is None:
            self._give_back_timer = asyncio.get_running_loop().call_later(AHEAD_SECONDS, self._give_back_late)

    def _give_back_late(self) -> None:
        self._give_back_timer = None
        before = time.monotonic() - AHEAD_SECONDS
        for claimed in self._slots.all_waiting():
            if claimed.at <= before:
                self._give_back(claimed)
        self._watch_waiting()

    def _give_back(self, claimed: _Claimed) -> None:
        """Let somebody else run a job that no slot became free for."""
        self._slots.withdraw(claimed.slots, claimed)
        del self._claimed[claimed.id]
        attempt = max(claimed.attempt - 1, 0)
        self._completer.add(Completion(claimed.id, JobState.AVAILABLE, "returned", attempt=attempt))
        self._metrics.returned.inc()
        if not self._claimed:
            self._idle.set()
        self._on_free()


def _lenient_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
