"""Works one job at a time on a connection that is given: what a client's start does, without claims, timers and a leader.

The attempt goes through the executor and the completer of a client that runs, so hooks, middleware, timeouts and retries are
those of production. Mirrors the ``Worker`` of River's ``rivertest``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rivermill.claimed import Policy
from rivermill.claims import claiming
from rivermill.client_queues import ClientQueues
from rivermill.completer import Completer
from rivermill.config import QueueConfig, Settings
from rivermill.db import SharedConnection
from rivermill.errors import ConfigError, RivermillError, ValidationError
from rivermill.events import EventKind, Subscribers
from rivermill.executor import Executor
from rivermill.handlers import ErrorHandler, HandlerAnswer
from rivermill.job import JobRow, JobState
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics

if TYPE_CHECKING:
    from rivermill.client import Client

#: States that an attempt can begin from: a running job is somebody else's, and a finished one is over.
_WORKABLE = tuple(state.value for state in JobState if not state.final and state is not JobState.RUNNING)
#: A completer tries for ever, which is not what a test wants of a database that is gone.
_WRITE_SECONDS = 30.0
_JOB_EVENTS = tuple(kind for kind in EventKind if kind.value.startswith("job_"))


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What came of one attempt. Mirrors ``WorkResult`` of River's ``rivertest``.

    Attributes:
        kind: the event that a subscriber would have seen, such as ``EventKind.JOB_COMPLETED``.
        job: the row afterwards.
        error: what the worker raised, if the attempt failed by it; None for success, snoozes and cancellations.
    """

    kind: EventKind
    job: JobRow
    error: BaseException | None = None


class _Failures:
    """The error handler of one attempt: it remembers the error, and asks the client's own handler, if there is one."""

    def __init__(self, own: ErrorHandler | None) -> None:
        self._own = own
        self.error: BaseException | None = None

    def handle_error(self, job: JobRow, error: BaseException) -> HandlerAnswer:
        self.error = error
        return self._own.handle_error(job, error) if self._own is not None else None

    def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> HandlerAnswer:
        self.error = error
        return self._own.handle_panic(job, error, trace) if self._own is not None else None


async def work_job(client: Client, shared: SharedConnection, job_id: int) -> WorkResult:
    """Work a job now, whatever its queue, and whether it is due or not.

    Args:
        client: whose workers and settings count; what the job finds as ``Job.client``.
        shared: where the job is claimed and its outcome written.
        job_id: the job.

    Raises:
        ConfigError: the client has no workers.
        NotFoundError: there is no such job.
        ValidationError: it is running or finished.
        RivermillError: the job was gone when its outcome was to be written.
        TimeoutError: the outcome could not be written within 30 s.
    """
    if not client.workers:
        raise ConfigError("a client without workers= works no jobs: give it those that are to be tested")
    settings, subscribers, metrics = client.settings, Subscribers(), Metrics()
    async with shared.acquire() as connection:
        row = await client.job_get(job_id, tx=connection)
    failures = _Failures(settings.error_handler)
    policy = replace(Policy.of(settings, settings.extensions, client), error_handler=failures)
    events = JobEvents(settings.schema, subscribers)
    completer = Completer(shared, settings.schema, settings.client_id, metrics, events, _nothing)
    queues = ClientQueues({row.queue: QueueConfig(1)}, None, works=True)
    executor = Executor(client.workers, completer, metrics, policy, queues=queues, on_free=_nothing)
    with subscribers.subscribe(_JOB_EVENTS) as seen:
        try:
            executor.submit(row.queue, [await _claim(shared, settings, row)])
            await executor.idle()
            completer.close()
            async with asyncio.timeout(_WRITE_SECONDS):
                await completer.run()
        finally:
            await executor.close()
    event = await anext(seen, None)
    if event is None or event.job is None:
        raise RivermillError(f"job {job_id}: its outcome could not be written, for it is gone or its transaction has failed")
    return WorkResult(event.kind, event.job, failures.error)


async def _claim(shared: SharedConnection, settings: Settings, row: JobRow) -> Any:
    schema = settings.schema
    table = schema.table("river_job")
    sql = claiming(schema, f"SELECT id FROM {table} WHERE id = $1::bigint AND state::text = ANY($2::text[]) FOR UPDATE")
    async with shared.acquire() as connection:
        records = await connection.fetch(sql, row.id, list(_WORKABLE), settings.client_id)
    if not records:
        raise ValidationError(f"job {row.id} is {row.state}: only jobs that are {', '.join(_WORKABLE)} can be worked")
    return records[0]


def _nothing() -> None:
    """Nobody waits for slots or batches here."""
