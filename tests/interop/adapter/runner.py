"""The one client of a process that works jobs, as ``start`` describes it, and what it has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill import (
    ClaimMetric,
    Client,
    ClientQueues,
    ErrorHandlerResult,
    EventKind,
    Hook,
    InsertOpts,
    InsertParams,
    Interval,
    JobRow,
    PeriodicJob,
    Unique,
)
from tests.interop.adapter.echo import Barriers, Echo, Seen, make_workers
from tests.interop.adapter.params import Start
from tests.interop.adapter.rpc import PARAMS, REFUSED, Failure
from tests.interop.adapter.runs import Noting

_STOP_SECONDS = 10.0
_MAX_WORKERS = 4
_EVENT_BUFFER = 100_000
_EVENTS = [kind for kind in EventKind if kind is not EventKind.JOB_INTERRUPTED]
#: As the adapter of River for Go has it.
_FETCH_COOLDOWN = timedelta(milliseconds=1)


class _ClaimBarrier(Hook):
    """Holds the first jobs that are claimed."""

    def __init__(self, barrier: asyncio.Event) -> None:
        self.barrier = barrier
        self._held = False

    async def jobs_claimed(self, metric: ClaimMetric) -> None:
        if not self._held:
            self._held = True
            await self.barrier.wait()


class _PeriodicStarts(Hook):
    """Counts how often periodic jobs began to be inserted."""

    count = 0

    async def periodic_jobs_start(self) -> None:
        self.count += 1


class _CancellingHandler:
    """Cancels every job that fails."""

    calls = 0

    async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult:
        self.calls += 1
        return ErrorHandlerResult(set_cancelled=True)

    async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> ErrorHandlerResult:
        self.calls += 1
        return ErrorHandlerResult(set_cancelled=True)


class Runner:
    """A client and what it has seen since its start.

    Args:
        dsn: the database.
        schema: where the tables are.
        params: how to start.
        barrier: finds a barrier by its name.
    """

    def __init__(self, dsn: str, schema: str, params: Start, barrier: Barriers) -> None:
        self._seen = Seen()
        self._handler = _CancellingHandler()
        self._claims = _ClaimBarrier(barrier(params.claim_barrier)) if params.claim_barrier else None
        try:
            workers = make_workers(params.worker_kinds or [Echo.kind], barrier, self._seen)
        except KeyError as error:
            raise Failure(PARAMS, f"unknown worker kind {error}") from error
        if params.periodic_unique and not params.periodic_run_on_start:
            raise Failure(PARAMS, "periodic_unique needs periodic_run_on_start")
        self._periodic_starts = _PeriodicStarts()
        self._client = Client(
            dsn,
            workers=workers,
            queues=dict.fromkeys(params.queues or ["default"], params.max_workers or _MAX_WORKERS),
            schema=schema,
            client_id=params.client_id or None,
            fetch_cooldown=_FETCH_COOLDOWN,
            poll_interval=_milliseconds(params.fetch_poll_interval_ms),
            job_timeout=_milliseconds(params.job_timeout_ms),
            rescue_after=_milliseconds(params.rescue_after_ms),
            discard_unknown_kinds=True,  # as River does
            retry_policy=_fixed_retry(params.retry_delay_ms),
            error_handler=self._handler if params.error_handler_cancel else None,
            fetch_only_known_kinds=params.fetch_only_known_kinds,
            leader_election_disabled=params.leader_election_disabled,
            poll_only=params.poll_only,
            periodic_jobs=_periodic_jobs(params),
            middleware=[Noting(params.runs, params.client_id)] if params.runs else [],
            hooks=[self._periodic_starts, *([self._claims] if self._claims else [])],
        )
        self._events: list[str] = []
        self._subscription = self._client.subscribe(_EVENTS, buffer=_EVENT_BUFFER)
        self._watching: asyncio.Task[None] | None = None

    @property
    def queues(self) -> ClientQueues:
        """The queues that the client works."""
        return self._client.queues

    async def start(self) -> None:
        """Start working."""
        await self._client.start()
        self._watching = asyncio.create_task(self._watch())

    def stats(self) -> dict[str, Any]:
        """What was seen."""
        return {
            "cancelled_at_start": self._seen.cancelled_at_start,
            "error_handler_calls": self._handler.calls,
            "events": self._events,
            "periodic_starts": self._periodic_starts.count,
        }

    async def stop(self, *, cancel: bool) -> None:
        """Stop working.

        Raises:
            Failure: it took too long.
        """
        if self._claims is not None:
            self._claims.barrier.set()
        try:
            await asyncio.wait_for(self._client.stop(cancel=cancel), _STOP_SECONDS)
        except TimeoutError:
            raise Failure(REFUSED, f"the client has not stopped within {_STOP_SECONDS:.0f} s") from None
        if self._watching is not None:
            await self._watching

    async def _watch(self) -> None:
        """Ends when the client has stopped."""
        async for event in self._subscription:
            self._events.append(event.kind.value)


def _periodic_jobs(params: Start) -> list[PeriodicJob]:
    jobs, hour = [], timedelta(hours=1)
    if params.periodic_run_on_start:
        unique = Unique(by_args=True, by_queue=True) if params.periodic_unique else None
        jobs.append(_periodic("conformance-periodic", "periodic run on start", hour, unique))
    if params.periodic_unique:
        jobs.append(_periodic("conformance-periodic-marker", "periodic marker", hour, None))
    every = _milliseconds(params.periodic_every_ms)
    if every is not None:
        jobs.append(_periodic("conformance-tick", "tick", every, Unique(by_args=True, by_period=every)))
    return jobs


def _periodic(name: str, message: str, every: timedelta, unique: Unique | None) -> PeriodicJob:
    def construct() -> InsertParams:
        return InsertParams(Echo(message=message), InsertOpts(unique=unique))

    return PeriodicJob(Interval(every), construct, id=name, run_on_start=True)


def _milliseconds(number: int) -> timedelta | None:
    return timedelta(milliseconds=number) if number else None


def _fixed_retry(number: int) -> Callable[[JobRow], datetime] | None:
    return (lambda _: datetime.now(UTC) + timedelta(milliseconds=number)) if number else None
