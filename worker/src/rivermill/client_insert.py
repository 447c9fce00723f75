"""The client's methods that insert jobs. Mirrors ``Insert`` and ``InsertMany`` of River's ``client.go``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from rivermill.args import kind_of
from rivermill.around_inserts import insert_with
from rivermill.client_base import ClientBase
from rivermill.db import Connection
from rivermill.errors import UnknownKindError
from rivermill.insert import JobInsertResult
from rivermill.insert_rows import InsertOpts, InsertParams, as_params
from rivermill.job import JobRow
from rivermill.transactions import Transaction
from rivermill.unique import Unique

ResultT = TypeVar("ResultT")


class InsertMethods(ClientBase):
    """The part of ``Client`` that inserts jobs; it needs no workers and no start."""

    async def insert(
        self, args: Any, opts: InsertOpts | None = None, *, unique: Unique | None = None, tx: Transaction | None = None
    ) -> JobInsertResult:
        """Insert one job. Mirrors ``Insert`` and ``InsertTx``.

        Args:
            args: a value of an args type (see ``rivermill.args``).
            opts: how to insert it.
            unique: short for ``InsertOpts(unique=...)``, and goes before that of ``opts``.
            tx: the caller's own transaction (``rivermill.transactions.Transaction``): the job exists when that commits. Errors
                of the database are those of its driver.

        Raises:
            ValidationError: args or an option are not valid, or (UnknownKindError) no worker knows the kind.
            MigrationError: it is in a sequence, and the schema lacks the tables for that.
            DatabaseUnavailableError: there is no connection.
        """
        chosen = InsertOpts() if opts is None else opts
        if unique is not None:
            chosen = InsertOpts(unique=unique).over(chosen)
        return (await self.insert_many([InsertParams(args, chosen)], tx=tx))[0]

    async def insert_many(self, jobs: Iterable[Any], *, tx: Transaction | None = None) -> list[JobInsertResult]:
        """Insert many jobs in one statement. Mirrors ``InsertMany`` and ``InsertManyTx``.

        Args:
            jobs: args values, or ``InsertParams`` where options are wanted.
            tx: as for ``insert``.

        Returns:
            One result for each job, in the order given; duplicates of unique jobs give the existing row.

        Raises:
            ValidationError: there are no jobs, one is not valid, or two have the same unique key; none is inserted then.
            MigrationError: as for ``insert``.
            DatabaseUnavailableError: there is no connection.
        """
        params = self._params(jobs)
        return await self._insert(self._inserter.insert, params, tx)

    async def insert_many_fast(self, jobs: Iterable[Any], *, tx: Transaction | None = None) -> int:
        """Insert many jobs by COPY: faster than ``insert_many``, but a duplicate of a unique job fails all of them.

        Mirrors ``InsertManyFast`` and ``InsertManyFastTx``.

        Args:
            jobs: args values, or ``InsertParams`` where options are wanted.
            tx: as for ``insert``.

        Returns:
            How many jobs were inserted.

        Raises:
            ValidationError: there are no jobs, one is not valid, or is in a sequence; none is inserted then.
            UniqueConflictError: a unique key is taken, or is there twice; none is inserted then.
            DatabaseUnavailableError: there is no connection.
        """
        params = self._params(jobs)
        return await self._insert(self._inserter.insert_fast, params, tx)

    async def enqueue(self, args: Any) -> JobRow:
        """Insert a job that is due at once; raises what ``insert`` raises."""
        return (await self.insert(args)).job

    async def enqueue_with_priority(self, args: Any, priority: int) -> JobRow:
        """Insert a job with a priority, 1 (most urgent) to 4; raises what ``insert`` raises."""
        return (await self.insert(args, InsertOpts(priority=priority))).job

    async def enqueue_scheduled(self, args: Any, scheduled_at: datetime) -> JobRow:
        """Insert a job that is due at an aware time; raises what ``insert`` raises."""
        return (await self.insert(args, InsertOpts(scheduled_at=scheduled_at))).job

    async def _insert(
        self,
        insert: Callable[[Connection, Sequence[InsertParams]], Awaitable[ResultT]],
        params: Sequence[InsertParams],
        tx: Transaction | None,
    ) -> ResultT:
        """Insert with everything that runs around it.

        That waits for what it likes, and may use this client, so it must not hold the connection.
        """

        async def innermost(resolved: Sequence[InsertParams]) -> ResultT:
            if _may_wait(resolved):
                return await self._wait_for(lambda connection: insert(connection, resolved), tx)
            async with self._connection(tx) as connection:
                return await insert(connection, resolved)

        return await insert_with(self._extensions, params, self._inserter.resolve, innermost)

    def _params(self, jobs: Iterable[Any]) -> list[InsertParams]:
        params = as_params(jobs)
        self._check_kinds(params)
        return params

    def _check_kinds(self, jobs: Sequence[InsertParams]) -> None:
        if not self._workers or self.settings.skip_unknown_job_check:
            return
        for kind in {kind_of(job.args) for job in jobs}:
            if self._workers.get(kind) is None:
                raise UnknownKindError(
                    f"kind {kind!r}: no worker is registered for it; add one to this client's workers, "
                    "or set skip_unknown_job_check=True if other clients work it"
                )


def _may_wait(jobs: Sequence[InsertParams]) -> bool:
    """Whether another transaction may hold what the inserts need: a unique key, or a sequence."""
    chosen = {id(one.opts): one.opts for one in jobs}
    # One of each type tells: asking all of a batch costs more than it is worth, since the insert asks them once more.
    own = [one.insert_opts() for one in {type(one.args): one.args for one in jobs}.values() if _has_opts(type(one))]
    opts = (one for one in (*chosen.values(), *own) if isinstance(one, InsertOpts))
    return any(one.unique is not None or one.sequence is not None for one in opts)


def _has_opts(args_type: type[Any]) -> bool:
    return callable(getattr(args_type, "insert_opts", None))
