"""The client: inserts and manages jobs, and works them when it is given workers and queues."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from rivermill.args import kind_of
from rivermill.config import QueueConfig, load_settings
from rivermill.db import Connection, SharedConnection
from rivermill.errors import ConfigError, NotStartedError, UnknownKindError
from rivermill.insert import Inserter, InsertOpts, InsertParams, NotifyLimiter, check_queue
from rivermill.job import JobRow, JobState
from rivermill.jobs import JobAdmin, JobFilter
from rivermill.queues import ALL_QUEUES, Queue, QueueAdmin
from rivermill.runtime import Runtime
from rivermill.worker import Workers


class JobQueue(Protocol):
    """The least a program needs of a job queue: the port to depend on in application code."""

    async def enqueue(self, args: Any) -> JobRow:
        """Insert a job that is due at once."""
        ...

    async def enqueue_with_priority(self, args: Any, priority: int) -> JobRow:
        """Insert a job with a priority, 1 (most urgent) to 4."""
        ...

    async def enqueue_scheduled(self, args: Any, scheduled_at: datetime) -> JobRow:
        """Insert a job that is due at an aware time."""
        ...

    async def cancel(self, job_id: int) -> JobRow:
        """Cancel a job."""
        ...

    async def start(self) -> None:
        """Start working."""
        ...

    async def stop(self) -> None:
        """Stop working: running jobs are finished or given back."""
        ...


class Client:
    """A River client.

    Args:
        dsn: a ``postgresql://`` URL; None takes ``DATABASE_URL``.
        workers: the kinds this client executes; None for a client that only inserts and manages.
        queues: queue name → slots (or ``QueueConfig``) this process gives to it.
        settings: any other field of ``rivermill.config.Settings``.

    Raises:
        ConfigError: a setting is missing or wrong.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        workers: Workers | None = None,
        queues: Mapping[str, int | QueueConfig] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = load_settings(dsn=dsn, queues=queues, **settings)
        self._workers = workers
        self._shared = SharedConnection(self.settings.dsn, f"rivermill {self.settings.client_id}"[:63])
        limiter = NotifyLimiter(self.settings.fetch_cooldown)
        self._inserter = Inserter(self.settings.schema, self.settings.max_attempts, limiter)
        self._jobs = JobAdmin(self.settings.schema)
        self._queues = QueueAdmin(self.settings.schema)
        self._runtime: Runtime | None = None

    # --- inserting ---

    async def insert(self, args: Any, opts: InsertOpts | None = None, *, tx: Connection | None = None) -> JobRow:
        """Insert one job.

        Args:
            args: a value of an args type (see ``rivermill.args``).
            opts: how to insert it.
            tx: an asyncpg connection of the caller's, usually in a transaction: the job exists when that commits.

        Raises:
            ValidationError: args or an option are not valid, or (UnknownKindError) no worker knows the kind.
            DatabaseUnavailableError: there is no connection.
        """
        return (await self.insert_many([InsertParams(args, opts or InsertOpts())], tx=tx))[0]

    async def insert_many(self, jobs: Iterable[Any], *, tx: Connection | None = None) -> list[JobRow]:
        """Insert many jobs in one statement.

        Args:
            jobs: args values, or ``InsertParams`` where options are wanted.
            tx: as for ``insert``.

        Returns:
            The rows, in the order given.

        Raises:
            ValidationError: there are no jobs, or one is not valid; none is inserted then.
            DatabaseUnavailableError: there is no connection.
        """
        params = [job if isinstance(job, InsertParams) else InsertParams(job) for job in jobs]
        self._check_kinds(params)
        async with self._connection(tx) as connection:
            return await self._inserter.insert(connection, params)

    async def enqueue(self, args: Any) -> JobRow:
        """Insert a job that is due at once."""
        return await self.insert(args)

    async def enqueue_with_priority(self, args: Any, priority: int) -> JobRow:
        """Insert a job with a priority, 1 (most urgent) to 4."""
        return await self.insert(args, InsertOpts(priority=priority))

    async def enqueue_scheduled(self, args: Any, scheduled_at: datetime) -> JobRow:
        """Insert a job that is due at an aware time."""
        return await self.insert(args, InsertOpts(scheduled_at=scheduled_at))

    # --- managing ---

    async def cancel(self, job_id: int) -> JobRow:
        """Cancel a job: at once if it is not running, else by asking the client that runs it.

        Raises:
            NotFoundError: there is none of this id.
        """
        async with self._connection() as connection:
            return await self._jobs.cancel(connection, job_id)

    async def job_get(self, job_id: int) -> JobRow:
        """One job.

        Raises:
            NotFoundError: there is none of this id.
        """
        async with self._connection() as connection:
            return await self._jobs.get(connection, job_id)

    async def job_list(
        self,
        *,
        ids: Sequence[int] = (),
        kinds: Sequence[str] = (),
        queues: Sequence[str] = (),
        states: Sequence[JobState] = (),
        priorities: Sequence[int] = (),
        limit: int = 100,
        descending: bool = False,
    ) -> list[JobRow]:
        """Jobs in the order of their ids; an empty filter does not filter, several must all match."""
        filters = JobFilter(ids, kinds, queues, states, priorities)
        async with self._connection() as connection:
            return await self._jobs.list(connection, filters, limit=limit, descending=descending)

    async def job_retry(self, job_id: int) -> JobRow:
        """Make a job that is not running due now.

        Raises:
            NotFoundError: there is none of this id.
            UniqueConflictError: another live job holds its unique key.
        """
        async with self._connection() as connection:
            return await self._jobs.retry(connection, job_id)

    async def job_delete(self, job_id: int) -> JobRow:
        """Delete a job that is not running; returns what it was.

        Raises:
            NotFoundError: there is none of this id.
            JobRunningError: it is running.
        """
        async with self._connection() as connection:
            return await self._jobs.delete(connection, job_id)

    async def queue_get(self, name: str) -> Queue:
        """One queue; raises NotFoundError if there is none."""
        async with self._connection() as connection:
            return await self._queues.get(connection, name)

    async def queue_list(self, *, limit: int = 100) -> list[Queue]:
        """Queues by name."""
        async with self._connection() as connection:
            return await self._queues.list(connection, limit=limit)

    async def queue_pause(self, name: str) -> None:
        """Stop every client's claims from a queue (``*``: all); raises NotFoundError if there is none."""
        _check_queue_or_all(name)
        async with self._connection() as connection:
            await self._queues.pause(connection, name)

    async def queue_resume(self, name: str) -> None:
        """Let clients claim again from a queue (``*``: all); raises NotFoundError if there is none."""
        _check_queue_or_all(name)
        async with self._connection() as connection:
            await self._queues.resume(connection, name)

    # --- working ---

    async def start(self) -> None:
        """Start working; returns when the client claims jobs.

        Raises:
            ConfigError: there are no workers or no queues, or the client runs already.
            DatabaseUnavailableError: there is no connection.
            MigrationError: the schema has no River tables.
        """
        if self._runtime is not None:
            raise ConfigError("this client has been started already: make a new Client to start again")
        if not self._workers or not self.settings.queues:
            raise ConfigError("a client needs workers= and queues= to be started; without them it only inserts")
        runtime = Runtime(self.settings, self._workers, self._shared)
        await runtime.start()
        self._runtime = runtime

    async def stop(self, *, cancel: bool = False) -> None:
        """Stop working and close the connections.

        Args:
            cancel: give running jobs back at once instead of after ``shutdown_timeout``.
        """
        if self._runtime is not None:
            await self._runtime.stop(cancel=cancel)
        await self._shared.close()

    async def stopped(self) -> None:
        """Wait until the client has stopped.

        Raises:
            NotStartedError: it was never started.
        """
        if self._runtime is None:
            raise NotStartedError("stopped() waits for a client that was started: call start() first")
        await self._runtime.stopped()

    async def __aenter__(self) -> Self:
        if self._workers and self.settings.queues:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def _connection(self, tx: Connection | None = None) -> AsyncIterator[Connection]:
        if tx is not None:
            yield tx
        else:
            async with self._shared.acquire() as connection:
                yield connection

    def _check_kinds(self, jobs: Sequence[InsertParams]) -> None:
        if not self._workers:
            return
        for kind in {kind_of(job.args) for job in jobs}:
            if self._workers.get(kind) is None:
                raise UnknownKindError(f"kind {kind!r}: no worker is registered for it; add one to this client's workers")


def _check_queue_or_all(name: str) -> None:
    if name != ALL_QUEUES:
        check_queue(name)
