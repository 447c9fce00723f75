"""The client: inserts and manages jobs, and works them when it is given workers and queues."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from rivermill.client_insert import InsertMethods
from rivermill.client_manage import JobMethods, LeaderMethods, QueueMethods
from rivermill.client_queues import ClientQueues
from rivermill.config import QueueConfig, check_listening
from rivermill.errors import ConfigError, NotStartedError, RivermillError
from rivermill.events import BUFFER_DEFAULT, EventKind, Subscribers, Subscription
from rivermill.forks import part_children
from rivermill.job import JobRow
from rivermill.maintenance.enqueuer import Enqueuer
from rivermill.periodic import PeriodicJobs
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


class Client(InsertMethods, JobMethods, QueueMethods, LeaderMethods):
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
        super().__init__(dsn, workers=workers, queues=queues, **settings)
        self._runtime: Runtime | None = None
        self._starting: asyncio.Event | None = None
        self._periodic_jobs = PeriodicJobs(self.settings.periodic_jobs)
        self._subscribers = Subscribers()
        self._work_queues = ClientQueues(
            self.settings.queues, self.settings.slots, works=bool(workers), check=self.settings.check_intervals
        )

    @property
    def queues(self) -> ClientQueues:
        """The queues that this client works, to add and to remove. Mirrors ``Client.Queues``."""
        return self._work_queues

    @property
    def periodic_jobs(self) -> PeriodicJobs:
        """The periodic jobs, to add and to remove; only the leader inserts them. Mirrors ``Client.PeriodicJobs``.

        Raises:
            ConfigError: this client never leads.
        """
        if self.settings.leader_election_disabled:
            raise ConfigError("periodic_jobs: a client with leader_election_disabled=True never inserts any")
        return self._periodic_jobs

    def subscribe(self, kinds: Iterable[EventKind | str], *, buffer: int = BUFFER_DEFAULT) -> Subscription:
        """Subscribe to what happens in this client; events of jobs are those of jobs that it worked, once they are written.

        Iterate with ``async for``, and close what you do not iterate to the end, or use ``with``. Mirrors ``Subscribe``.

        Args:
            kinds: which events.
            buffer: events kept for the subscriber; while it is full, further ones are lost.

        Raises:
            ConfigError: this client has no workers.
            ValidationError: a kind is unknown, there is none, or ``buffer`` is below 1.
        """
        if not self._workers:
            raise ConfigError("subscribe: a client without workers= works no jobs, so it has no events")
        return self._subscribers.subscribe(kinds, buffer)

    async def start(self) -> None:
        """Start working; returns when the client claims jobs. Mirrors ``Start``.

        Raises:
            ConfigError: there are no workers or no queues, it would listen through a transaction pooler, or the client runs
                already.
            DatabaseUnavailableError: there is no connection.
            MigrationError: the schema has no River tables, or none for the rate limits of the settings.
        """
        if self._runtime is not None or self._starting is not None:
            raise ConfigError("this client has been started already: make a new Client to start again")
        missing = self._missing()
        if missing is not None or self._workers is None:
            raise ConfigError(f"this client cannot be started: {missing}")
        check_listening(self.settings)
        part_children()
        enqueuer = Enqueuer(self._periodic_jobs, self._inserter, self._extensions)
        runtime = Runtime(self.settings, self._workers, self._work_queues, self._shared, enqueuer, self._subscribers, self)
        self._starting = asyncio.Event()
        try:
            await runtime.start()
            self._runtime = runtime
        except BaseException:
            await self._shared.close()  # nobody stops a client that has not started
            raise
        finally:
            self._starting.set()
            self._starting = None

    async def stop(self, *, cancel: bool = False) -> None:
        """Stop working and close the connections. Mirrors ``Stop`` and ``StopAndCancel``.

        While ``start`` has not ended, it waits for that. Cancelled, or given a time limit by its caller, it only waits no more:
        the client goes on stopping, and another call waits for its end, or hurries it.

        Args:
            cancel: give running jobs back at once instead of after ``shutdown_timeout``.

        Raises:
            RivermillError: a job that this client runs has called it, and it would wait for that job.
        """
        if self._runtime is not None and self._runtime.is_job(asyncio.current_task()):
            raise RivermillError(
                "stop() inside a job would wait for that job: let a task of its own call it, and keep that, "
                "e.g. stopping = asyncio.create_task(job.client.stop())"
            )
        if self._starting is not None:
            await self._starting.wait()
        if self._runtime is not None:
            await self._runtime.stop(cancel=cancel)
        await self._shared.close()

    @property
    def left_running(self) -> tuple[int, ...]:
        """Jobs that go on in this process although ``stop`` gave them up: others rescue them soon, so end the process."""
        return self._runtime.left_running if self._runtime is not None else ()

    async def stopped(self) -> None:
        """Wait until the client has stopped. Mirrors ``Stopped``.

        Raises:
            NotStartedError: it was never started.
            RivermillError: a part of it died.
        """
        if self._runtime is None:
            way = self._missing() or "call start() first"
            raise NotStartedError(f"stopped() waits for a client that was started: {way}")
        await self._runtime.stopped()

    def _missing(self) -> str | None:
        """What it cannot be started without; None if it can be."""
        if self._workers is None:
            return "it has no workers=, without which it only inserts"
        if not self._workers:
            return "its workers= are empty: register them, by @workers.work or workers.add, before the client is made"
        return None if self._work_queues else "it has no queues: give queues={'default': 10}, or set RIVER_QUEUES"

    async def __aenter__(self) -> Self:
        # Without queues it inserts what its workers work; workers that are none are a mistake.
        if self._workers is not None and self._work_queues:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
