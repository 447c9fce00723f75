"""The client's methods that insert jobs. Mirrors ``Insert`` and ``InsertMany`` of River's ``client.go``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rivermill.args import kind_of
from rivermill.client_base import ClientBase
from rivermill.db import Connection
from rivermill.errors import UnknownKindError
from rivermill.insert import InsertOpts, InsertParams
from rivermill.job import JobRow


class InsertMethods(ClientBase):
    """The part of ``Client`` that inserts jobs; it needs no workers and no start."""

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

    def _check_kinds(self, jobs: Sequence[InsertParams]) -> None:
        if not self._workers:
            return
        for kind in {kind_of(job.args) for job in jobs}:
            if self._workers.get(kind) is None:
                raise UnknownKindError(f"kind {kind!r}: no worker is registered for it; add one to this client's workers")
