"""One attempt from its claimed row to its outcome. Mirrors ``execute`` and ``reportResult`` of River's ``job_executor.go``.

Whatever is done for every job bounds the rate of short ones, once statements are batched. So nothing is done twice, there is
one timer for all deadlines, what a worker does not look at is not decoded, and what does not run around it costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rivermill.args import args_decoder
from rivermill.claimed import Claimed, Kind, Policy
from rivermill.completer import Completer
from rivermill.deadlines import Deadlines
from rivermill.errors import JobFailure, JobOutcome, JobTimeoutError, RivermillError
from rivermill.extensions import Extensions, work_with
from rivermill.handlers import ask_error_handler
from rivermill.job import Job, JobState
from rivermill.metrics import Metrics
from rivermill.outcome import (
    REMOTE_CANCEL,
    RESCUE_COUNT,
    Completion,
    decide,
    describe_error,
    encode_updates,
    error_element,
    error_text,
    is_failure,
    is_interruption,
    meant_by,
    shortened,
)
from rivermill.places import Places
from rivermill.resumable import PROGRESS, end_steps
from rivermill.retry import next_retry
from rivermill.rows import json_object
from rivermill.worker import ExecutorKind, Registration, Workers, refuse_unawaited

_NEVER = float("inf")
#: What metrics have for kinds that nobody registered: they are whatever somebody inserts, and each label is kept for ever.
NOT_REGISTERED = "(not registered)"

logger = logging.getLogger("rivermill.executor")


class Attempts:
    """Executes attempts.

    Args:
        workers: the kinds that can be executed.
        places: where workers run that do not run on the loop.
        completer: takes the outcomes.
        metrics: where attempts are counted.
        policy: how attempts are executed and judged.
        interrupt: called when an attempt has used up its time.
        on_end: called when an attempt has ended, whatever happened.
        unfinished: the jobs whose outcome is open.
    """

    def __init__(
        self,
        workers: Workers,
        places: Places,
        completer: Completer,
        metrics: Metrics,
        policy: Policy,
        *,
        interrupt: Callable[[Claimed], None],
        on_end: Callable[[Claimed], None],
        unfinished: Callable[[], Iterable[Claimed]],
    ) -> None:
        self._workers = workers
        self._places = places
        self._completer = completer
        self._metrics = metrics
        self._policy = policy
        self._interrupt = interrupt
        self._on_end = on_end
        self._kinds: dict[str, dict[str, Kind]] = defaultdict(dict)
        self._deadlines: Deadlines[Claimed] = Deadlines(unfinished, self._time_out)

    def kinds(self, queue: str) -> Mapping[str, Kind]:
        """What is known of the jobs of one queue, by kind; ``new_kind`` for one that is not there yet."""
        return self._kinds[queue]

    def new_kind(self, queue: str, name: str) -> Kind:
        """What there is to know of the jobs of one kind in one queue."""
        registration = self._workers.get(name)
        around, plain, timeout, label = Extensions(), False, None, NOT_REGISTERED
        if registration is not None:
            label = name
            around = self._policy.extensions.then(registration.own)
            on_loop = registration.executor is ExecutorKind.ASYNC
            plain = on_loop and not around.on_work and not registration.worker.middleware
            timeout = registration.timeout(self._policy.job_timeout)
        kind = Kind(
            queue,
            name,
            label,
            self._policy,
            registration,
            args_decoder(registration.args_type) if registration else _not_registered,
            registration.work if registration else _not_registered,
            timeout,
            _NEVER if timeout is None else timeout.total_seconds(),
            around,
            plain,
            self._metrics.jobs.labels(queue, label, "completed"),
            self._metrics.job_seconds.labels(queue),
        )
        if registration is not None:
            # Kinds that nobody registered are not remembered.
            self._kinds[queue][name] = kind
        return kind

    async def execute(self, jobs: Iterator[Claimed]) -> None:
        """Work claimed jobs, one after the other, and hand their outcomes over."""
        completer, deadlines = self._completer, self._deadlines
        job: Job[Any] | None
        for claimed in jobs:
            claimed.entered = True
            claimed.at = began = time.monotonic()
            kind, error = claimed.kind_info, None
            metadata: str = claimed.record["metadata"]
            bare = metadata == "{}"
            try:
                try:
                    if kind.plain and not claimed.touched and (bare or _is_plain(metadata)):
                        job = Job(kind.decode(claimed.record["args"]), claimed, claimed)
                        claimed.deadline = deadline = began + kind.timeout_seconds
                        if deadline < deadlines.earliest:
                            deadlines.watch(deadline)
                        result = kind.work(job)
                        if result is not None and (returned := await result) is not None:
                            refuse_unawaited(returned)
                    else:
                        job = result = None  # of the one before, which may be large, while this one takes its time
                        await self._attempt(claimed, kind)
                except BaseException as raised:  # noqa: BLE001 - whatever a worker raises is recorded on its job
                    error = self._reason(claimed, kind, raised)
                claimed.done, ended_at = True, time.monotonic()
                if completer.full:
                    await self._wait_for_room(claimed)
                if claimed.abandoned:
                    continue
                if completer.events.wanted:
                    completer.events.ended(claimed.id, claimed.at, ended_at, claimed.record["scheduled_at"])
                if error is None and claimed.updates is None and claimed.steps is None and (bare or PROGRESS not in metadata):
                    completer.succeeded(claimed.id, ended_at)
                    kind.completed.value += 1
                else:
                    completer.add(await self._judge(claimed, kind, error))
                kind.seconds.observe(ended_at - began)
            finally:
                claimed.done = True
                self._on_end(claimed)

    async def _wait_for_room(self, claimed: Claimed) -> None:
        """Wait until its outcome can be taken, also where a worker that did not wait has left its task cancelled."""
        while self._completer.full and not claimed.abandoned:
            with contextlib.suppress(asyncio.CancelledError):
                await self._completer.wait_for_room()

    def give_up(self, claimed: Claimed) -> None:
        """Record a cancelled attempt that does not end."""
        element = error_element(claimed.started_at, claimed.attempt, REMOTE_CANCEL)
        metadata = encode_updates(claimed.updates)
        at = claimed.claimed_at
        self._completer.add(
            Completion(claimed.id, JobState.CANCELLED, "cancelled", error=element, metadata=metadata, claimed_at=at)
        )
        self._metrics.jobs.labels(claimed.kind_info.queue, claimed.kind_info.label, "cancelled").inc()

    def disown(self, claimed: Claimed) -> None:
        """End an attempt whose row was taken from this client; what it ends with counts for nothing."""
        text = "job %(job_id)s of kind %(kind)s was rescued while it ran here, and begins again: the earlier attempt is ended"
        logger.warning(text, claimed.names, extra=claimed.names)
        claimed.abandoned = True
        if not claimed.done:
            claimed.stopping = claimed.touched = True
            self._interrupt(claimed)

    def close(self) -> None:
        """Time nothing any more."""
        self._deadlines.close()

    # --- working ---

    async def _attempt(self, claimed: Claimed, kind: Kind) -> None:
        """Run a worker with everything around it, or refuse to; what cannot be decoded fails this job and no other."""
        registration = kind.registration
        if RESCUE_COUNT in claimed.record["metadata"]:
            self._completer.forget(claimed.id)
        if claimed.stopping or claimed.seized:
            raise asyncio.CancelledError
        if not claimed.record["metadata"].startswith("{"):
            # Nothing could be merged into it.
            raise JobFailure("job row couldn't be decoded: its metadata is not an object")
        if registration is None:
            raise JobFailure(f"job kind is not registered in the client's Workers bundle: {kind.name}")
        await self._work_with_all(claimed, kind, registration)

    def _reason(self, claimed: Claimed, kind: Kind, raised: BaseException) -> BaseException:
        """Why an attempt ended with an error."""
        if isinstance(raised, GeneratorExit) and not _is_in_step(claimed):
            raise raised  # the loop is closed, and nothing can be awaited any more
        raised = meant_by(raised)
        if claimed.timed_out and not isinstance(raised, JobOutcome):
            late = "" if is_interruption(raised) else f"; then {error_text(raised)}"
            error = JobTimeoutError(f"timed out after {kind.timeout}{late}")
            error.__cause__ = raised if late else None
            return error
        # A worker may cancel itself; that is a failure like any other, unless somebody asked for it.
        return raised

    async def _work_with_all(self, claimed: Claimed, kind: Kind, registration: Registration) -> None:
        """Run the worker wherever it runs, and all that is around it."""
        job: Job[Any] = Job(None, claimed, claimed)

        def decode() -> None:
            job.args = kind.decode(claimed.args)

        def run() -> Awaitable[None]:
            return self._work(claimed, kind, registration, job)

        await work_with(kind.around, registration.worker.middleware, job, decode, run)

    async def _work(self, claimed: Claimed, kind: Kind, registration: Registration, job: Job[Any]) -> None:
        claimed.deadline = time.monotonic() + kind.timeout_seconds
        self._deadlines.watch(claimed.deadline)
        claimed.place = registration.executor
        try:
            if claimed.place is ExecutorKind.PROCESS:
                await self._places.run_in_process(claimed, registration.kind, job.row, claimed.args)
            elif claimed.place is ExecutorKind.THREAD:
                refuse_unawaited(await self._places.run_in_thread(kind.work, job))
            elif claimed.cancel_requested:
                await _work_cancelled(claimed, kind, job)
            else:
                result = kind.work(job)
                if result is not None:
                    refuse_unawaited(await result)
        finally:
            claimed.place = ExecutorKind.ASYNC
            claimed.worked = True

    def _time_out(self, claimed: Claimed) -> None:
        # What comes after its worker may take any time, and its task must not be cancelled there: the outcome would be lost.
        if not (claimed.worked or claimed.done):
            claimed.timed_out = True
            self._interrupt(claimed)

    # --- judging ---

    async def _judge(self, claimed: Claimed, kind: Kind, error: BaseException | None) -> Completion:
        """The outcome of an attempt, after the error handler has seen it."""
        error = _end_steps(claimed, kind, error)
        attempt, handler = claimed.facts(), self._policy.error_handler
        if error is not None and handler is not None and is_failure(attempt, error):
            trace, limit = describe_error(error)[1], self._policy.stuck_threshold
            if await ask_error_handler(handler, claimed.readable_row(), error, trace, limit):
                attempt = claimed.facts(handler_cancelled=True)
        now = datetime.now(UTC)
        policy = self._policy.retry_policy
        completion = decide(
            attempt,
            error,
            now=now,
            next_retry=lambda: next_retry(kind.registration, claimed.readable_row(), policy, now),
        )
        self._metrics.jobs.labels(kind.queue, kind.label, completion.outcome).inc()
        if error is not None and completion.outcome in ("failed", "discarded"):
            facts = {
                "job_id": claimed.id,
                "kind": kind.name,
                "outcome": completion.outcome,
                "error": shortened(error_text(error), 1000),
            }
            logger.warning("job %(job_id)s of kind %(kind)s %(outcome)s: %(error)s", facts, extra=facts)
            self._policy.on_failure()
        return replace(completion, claimed_at=claimed.claimed_at)


def _is_plain(metadata: str) -> bool:
    """Whether nothing in a row's metadata makes a difference to its worker."""
    return metadata.startswith("{") and RESCUE_COUNT not in metadata


def _is_in_step(claimed: Claimed) -> bool:
    """Whether the task of an attempt takes a step, so that what is raised there is its worker's."""
    return claimed.task is not None and asyncio.current_task(claimed.task.get_loop()) is claimed.task


def _not_registered(_: Any) -> Any:
    raise RivermillError("a job of this kind cannot be worked here")


def _end_steps(claimed: Claimed, kind: Kind, error: BaseException | None) -> BaseException | None:
    if kind.registration is not None and kind.registration.executor is ExecutorKind.PROCESS:
        # The process has ended its steps, or told how far they were before it was killed.
        if error is not None:
            for key, value in (claimed.progress or {}).items():
                claimed.update(key, value)
        return error
    if claimed.steps is None and PROGRESS not in claimed.record["metadata"]:
        return error
    return end_steps(claimed, json_object(claimed.record["metadata"]), error)


async def _work_cancelled(claimed: Claimed, kind: Kind, job: Job[Any]) -> None:
    """Begin an async worker that is cancelled already: its first wait raises, as in River its context is done on entry."""
    assert claimed.task is not None
    claimed.task.cancel()
    try:
        result = kind.work(job)
        if result is not None:
            refuse_unawaited(await result)
    finally:
        # A worker that never waited has not used up the cancellation, and it must not hit the bookkeeping.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
