"""The client's methods that look at jobs and queues and change them.

Mirrors the ``Job…`` and ``Queue…`` calls of River's ``client.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rivermill.client_base import ClientBase
from rivermill.errors import NotFoundError, ValidationError
from rivermill.insert_rows import check_queue
from rivermill.job import Job, JobRow
from rivermill.joblist import JobFilter, JobListParams, JobListResult
from rivermill.jsonb import encode_value
from rivermill.limits import Concurrency, RateLimit
from rivermill.outcome import encode_updates
from rivermill.queues import ALL_QUEUES, Queue
from rivermill.transactions import Transaction

_IDS = 2**63


class JobMethods(ClientBase):
    """The part of ``Client`` that manages jobs; ``tx`` is the caller's own transaction, as for ``insert``."""

    async def cancel(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Cancel a job: at once if it is not running, else by asking the client that runs it. Mirrors ``JobCancel``.

        Returns:
            The row as it is now: a finished job is unchanged, a running one still ``running``.

        Raises:
            NotFoundError: there is none of this id.
        """
        job_id = _checked(job_id)
        return await self._wait_for(lambda connection: self._jobs.cancel(connection, job_id), tx)

    async def job_get(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """One job. Mirrors ``JobGet``.

        Raises:
            NotFoundError: there is none of this id.
        """
        async with self._connection(tx) as connection:
            return await self._jobs.get(connection, _checked(job_id))

    async def job_list(self, params: JobListParams | None = None, *, tx: Transaction | None = None) -> JobListResult:
        """One page of jobs; without ``params`` the first 100 by id. Mirrors ``JobList``.

        Raises:
            DatabaseUnavailableError: there is no connection.
            ValidationError: ``params`` are something else.
        """
        _check_type("params", params, JobListParams, "a JobListParams, e.g. JobListParams(kinds=['mail'])")
        async with self._connection(tx) as connection:
            return await self._jobs.page(connection, params or JobListParams())

    async def job_delete_many(
        self,
        filters: JobFilter | None = None,
        *,
        limit: int = 100,
        everything: bool = False,
        tx: Transaction | None = None,
    ) -> list[JobRow]:
        """Delete up to ``limit`` (1 to 10,000) jobs that match and are not running; returns what they were.

        Rows that another transaction has locked are passed over, so an empty result does not mean that none is left. Mirrors
        ``JobDeleteMany``.

        Raises:
            ValidationError: there is no filter and not ``everything=True``, or both; it is no ``JobFilter``, or a
                ``JobListParams``; or ``limit`` is out of its range.
        """
        _check_type("filters", filters, JobFilter, "a JobFilter, e.g. JobFilter(kinds=['mail'])")
        async with self._connection(tx) as connection:
            return await self._jobs.delete_many(connection, filters or JobFilter(), limit=limit, everything=everything)

    async def job_complete(self, job: Job[Any], *, tx: Transaction) -> JobRow:
        """Complete the job that is being worked in the caller's transaction, together with what the worker writes there.

        Call it in the worker, commit, and return. If the transaction is rolled back the job goes on as if nothing had been
        called. Once it is committed the job stays completed, whatever the worker raises afterwards. Output and metadata that
        the attempt has recorded so far are written with it. Mirrors ``JobCompleteTx``.

        Args:
            job: the worker's.
            tx: as for ``insert``. Commit or roll back before the worker returns: the attempt's end waits for the row.

        Returns:
            The completed row.

        Raises:
            JobNotRunningError: this attempt runs the job no more: let the error pass, so that the transaction is rolled back.
            NotFoundError: the job is gone.
        """
        async with self._connection(tx) as connection:
            return await self._jobs.complete(connection, job.row, encode_updates(job.state.updates))

    async def job_set_step(self, job: Job[Any], *, cursor: Any = None, tx: Transaction) -> JobRow:
        """Record in the caller's transaction that the step which the worker is in is done, or how far it has come.

        Call it inside the step (``job.step``), commit, and let the step end. What is committed stays, however the process
        ends: without a cursor the next attempt skips the step, with one it goes on from there. If the transaction is rolled
        back, so is this, and progress that was not recorded before may be made again. Mirrors ``ResumableSetStepTx`` and
        ``ResumableSetStepCursorTx``.

        Args:
            job: the worker's.
            cursor: a JSON value as for ``Step.set_cursor``; None records what that was given last in this step, if anything.
            tx: as for ``job_complete``.

        Returns:
            The row.

        Raises:
            JobNotRunningError: as for ``job_complete``.
            NotFoundError: the job is gone.
            ValidationError: the worker is in no step that it needs, has not reached a step that has a cursor, or the cursor
                cannot be stored.
        """
        if job.state.steps is None:
            raise ValidationError("job_set_step: call it inside a step, `with job.step(name)`")
        checkpoint = job.state.steps.checkpoint(cursor)
        async with self._connection(tx) as connection:
            row = await self._jobs.set_progress(connection, job.row, encode_value("cursor", checkpoint).decode())
        job.state.steps.keep(checkpoint)
        return row

    async def job_update(self, job_id: int, *, output: Any, tx: Transaction | None = None) -> JobRow:
        """Set a job's output: any JSON value of at most 32 MiB, kept in its metadata. Mirrors ``JobUpdate``.

        Raises:
            NotFoundError: there is none of this id.
            ValidationError: the output cannot be encoded or stored, or is too large.
        """
        job_id = _checked(job_id)
        return await self._wait_for(lambda connection: self._jobs.update(connection, job_id, output), tx)

    async def job_retry(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Make a job that is not running due now, with one more attempt if none is left. Mirrors ``JobRetry``.

        Returns:
            The row as it is now; a running job is unchanged, and so is one that is due already.

        Raises:
            NotFoundError: there is none of this id.
            UniqueConflictError: another live job holds its unique key.
        """
        job_id = _checked(job_id)
        return await self._wait_for(lambda connection: self._jobs.retry(connection, job_id), tx)

    async def job_delete(self, job_id: int, *, tx: Transaction | None = None) -> JobRow:
        """Delete a job that is not running; returns what it was. Mirrors ``JobDelete``.

        Raises:
            NotFoundError: there is none of this id.
            JobRunningError: it is running.
        """
        job_id = _checked(job_id)
        return await self._wait_for(lambda connection: self._jobs.delete(connection, job_id), tx)


class QueueMethods(ClientBase):
    """The part of ``Client`` that manages queues; ``tx`` is the caller's own transaction, as for ``insert``."""

    async def queue_get(self, name: str, *, tx: Transaction | None = None) -> Queue:
        """One queue. Mirrors ``QueueGet``.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: the name is no text.
        """
        _check_text("queue", name)
        async with self._connection(tx) as connection:
            return await self._queues.get(connection, name)

    async def queue_list(self, *, limit: int = 100, after: str = "", tx: Transaction | None = None) -> list[Queue]:
        """Queues by name, up to ``limit`` (1 to 10,000) after the name ``after``. Mirrors ``QueueList``.

        Raises:
            ValidationError: ``limit`` is out of its range, or ``after`` is no text.
        """
        _check_text("after", after)
        async with self._connection(tx) as connection:
            return await self._queues.list(connection, limit=limit, after=after)

    async def queue_update(self, name: str, *, metadata: Mapping[str, Any] | str, tx: Transaction | None = None) -> Queue:
        """Replace a queue's metadata: a JSON object, or the text of one. Mirrors ``QueueUpdate``.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: the name is no text, or the metadata cannot be encoded or stored.
        """
        _check_text("queue", name)
        return await self._wait_for(lambda connection: self._queues.update(connection, name, metadata), tx)

    async def queue_limit(self, name: str, concurrency: Concurrency | None, *, tx: Transaction | None = None) -> Queue:
        """Limit how many jobs of a queue run at once, or with None end its limits.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: the name is no text, or ``concurrency`` is something else.
        """
        _check_text("queue", name)
        _check_type("concurrency", concurrency, Concurrency, "a Concurrency, e.g. Concurrency(global_limit=5), or None")
        return await self._wait_for(lambda connection: self._queues.limit(connection, name, concurrency), tx)

    async def queue_rate_limit(self, name: str, rate: RateLimit | None, *, tx: Transaction | None = None) -> Queue:
        """Limit how many jobs of a queue start in each period, or with None end that limit.

        Raises:
            MigrationError: the schema lacks a table: run ``rivermill migrate up``.
            NotFoundError: there is no such queue.
            ValidationError: the name is no text, or ``rate`` is something else.
        """
        _check_text("queue", name)
        _check_type("rate", rate, RateLimit, "a RateLimit, e.g. RateLimit(5, timedelta(seconds=1)), or None")
        return await self._wait_for(lambda connection: self._queues.limit_rate(connection, name, rate), tx)

    async def queue_pause(self, name: str, *, tx: Transaction | None = None) -> None:
        """Stop every client's claims from a queue (``*``: all); running jobs go on. Mirrors ``QueuePause``.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: no queue can have this name.
        """
        _check_queue_or_all(name)
        await self._wait_for(lambda connection: self._queues.pause(connection, name), tx)

    async def queue_resume(self, name: str, *, tx: Transaction | None = None) -> None:
        """Let clients claim again from a queue (``*``: all). Mirrors ``QueueResume``.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: no queue can have this name.
        """
        _check_queue_or_all(name)
        await self._wait_for(lambda connection: self._queues.resume(connection, name), tx)


class LeaderMethods(ClientBase):
    """The part of ``Client`` that deals with the schema's leader."""

    async def request_resign(self, *, tx: Transaction | None = None) -> None:
        """Ask the present leader, whichever client that is, to give up its term; any client may win the next one.

        Mirrors ``Notify().RequestResign``.
        """
        payload = '{"action":"request_resign","leader_id":""}'
        async with self._connection(tx) as connection:
            await connection.execute("SELECT pg_notify($1, $2)", self.settings.schema.channel("river_leadership"), payload)


def _check_text(what: str, name: Any) -> None:
    if not isinstance(name, str):
        raise ValidationError(f"{what} {str(name)[:60]!r} of type {type(name).__name__}: use the name of a queue, a text")


def _check_queue_or_all(name: str) -> None:
    if name != ALL_QUEUES:
        check_queue(name)


def _checked(job_id: int) -> int:
    if isinstance(job_id, bool) or not isinstance(job_id, int):
        raise ValidationError(f"job_id {str(job_id)[:60]!r} of type {type(job_id).__name__}: use a job's id, a whole number")
    if not -_IDS <= job_id < _IDS:
        raise NotFoundError(f"job {job_id}: there is no such job; ids are below 2^63")
    return job_id


def _check_type(name: str, value: Any, kind: type, example: str) -> None:
    """Raise ValidationError unless it is None or of this type."""
    if value is not None and not isinstance(value, kind):
        raise ValidationError(f"{name} {str(value)[:60]!r} of type {type(value).__name__}: use {example}")
