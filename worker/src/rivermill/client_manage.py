"""The client's methods that look at jobs and queues and change them.

Mirrors the ``Job…`` and ``Queue…`` calls of River's ``client.go``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rivermill.client_base import ClientBase
from rivermill.insert import check_queue
from rivermill.job import JobRow, JobState
from rivermill.jobs import JobFilter
from rivermill.queues import ALL_QUEUES, Queue


class JobMethods(ClientBase):
    """The part of ``Client`` that manages jobs."""

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


class QueueMethods(ClientBase):
    """The part of ``Client`` that manages queues."""

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


def _check_queue_or_all(name: str) -> None:
    if name != ALL_QUEUES:
        check_queue(name)
