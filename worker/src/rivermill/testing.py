"""Helpers for the tests of programs that insert and work jobs.

What was inserted, working one job in a transaction that is rolled back, working every job as it is inserted, and a schema of
its own for each test. Mirrors ``RequireInserted``, ``RequireNotInserted``, ``RequireManyInserted``, ``Worker`` and the
``ResumableStep…`` of River's ``rivertest``, and ``TestSchema`` of its ``riverdbtest``. A requirement that is not met raises
``AssertionError``, which says what was found instead.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from rivermill.client import Client
from rivermill.db import SharedConnection, connect
from rivermill.gojson import add_members
from rivermill.inline import WorkResult, work_job
from rivermill.insert import JobInsertResult
from rivermill.insert_rows import InsertOpts, InsertParams
from rivermill.job import JobRow, JobState
from rivermill.jsonb import encode_object
from rivermill.migrations import LINES, Migrator
from rivermill.required_jobs import Expected, describe, require_inserted, require_many_inserted, require_not_inserted
from rivermill.resumable import progress
from rivermill.schema import Schema
from rivermill.sequences import Turns, key_in
from rivermill.sync import SyncClient
from rivermill.transactions import LentConnection, Transaction
from rivermill.worker import Workers

__all__ = [
    "Expected",
    "InlineClient",
    "InlineSyncClient",
    "WorkResult",
    "migrated_schema",
    "require_inserted",
    "require_many_inserted",
    "require_not_inserted",
    "resumable_step_after",
    "resumable_step_at_cursor",
    "work_one",
]


async def work_one(client: Client, job: Any, opts: InsertOpts | None = None, *, tx: Transaction) -> WorkResult:
    """Insert a job and work it at once, all in the caller's transaction, which the test rolls back.

    The attempt is one of production: hooks, middleware, timeout, error handler and retry policy of the client and the worker
    apply, and threads and processes run what belongs there. ``Job.client`` works in the transaction as well. A job that fails
    raises nothing here. Mirrors ``Work`` and ``WorkJob`` of ``rivertest.Worker``.

    Args:
        client: a client with workers, which need not be started.
        job: args to insert, or the row of a job that is there already.
        opts: how to insert the args; a job that is not due yet is worked all the same.
        tx: as for ``Client.insert``; the worker may use it too.

    Raises:
        AssertionError: the job would be a duplicate of another.
        ConfigError: the client has no workers.
        NotFoundError: the job whose row is given is gone.
        ValidationError: the args or an option are not valid, or the job is running or finished.
    """
    __tracebackhide__ = True
    bound = client.within(tx)
    if isinstance(job, JobRow):
        return await work_job(bound, LentConnection(tx), job.id)
    # Not what a subclass makes of it: InlineClient would have worked the job already.
    (result,) = await Client.insert_many(bound, [InsertParams(job, opts or InsertOpts())])
    if result.unique_skipped_as_duplicate:
        raise AssertionError(f"the job was not inserted, as it is a duplicate: there is {describe([result.job])}")
    return await work_job(bound, LentConnection(tx), result.job.id)


def resumable_step_after(step: str, opts: InsertOpts | None = None) -> InsertOpts:
    """Options with which a job's first attempt goes on behind a step, as if an earlier one had done it and failed then.

    Mirrors ``ResumableStepAfter`` of River's ``rivertest``.

    Args:
        step: the step's name.
        opts: the other options; its metadata are kept.

    Raises:
        ValidationError: the metadata cannot be encoded.
    """
    return _with_metadata(opts, progress(step))


def resumable_step_at_cursor(step: str, cursor: Any, opts: InsertOpts | None = None) -> InsertOpts:
    """Options with which a job's first attempt goes on within a step, as if an earlier one had set the cursor and failed then.

    Mirrors ``ResumableStepAtCursor`` of River's ``rivertest``.

    Args:
        step: the step's name.
        cursor: a JSON value but None.
        opts: as for ``resumable_step_after``.

    Raises:
        ValidationError: the cursor or the metadata cannot be encoded.
    """
    return _with_metadata(opts, progress(step, cursor))


class InlineClient(Client):
    """A client for the tests of applications: each job that is inserted and due is worked before ``insert`` returns.

    It is worked as ``work_one`` works it, and a failed one is not tried again. What it inserts itself with ``job.client`` is
    worked within it. Jobs for later, duplicates, and what comes with ``insert_many_fast`` are only inserted. Of a sequence the
    next job is worked once the one before it has ended.

    Args:
        dsn: as for ``Client``; so is everything else.

    Attributes:
        worked: what came of each job, in the order in which they ended.
    """

    def __init__(self, dsn: str | None = None, *, workers: Workers, **settings: Any) -> None:
        super().__init__(dsn, workers=workers, **settings)
        self.worked: list[WorkResult] = []

    async def insert_many(self, jobs: Iterable[Any], *, tx: Transaction | None = None) -> list[JobInsertResult]:
        """Insert jobs as ``Client`` does, and work them in their order; the results have the rows as they are then."""
        results = await super().insert_many(jobs, tx=tx)
        client, shared = (self, self._shared) if tx is None else (self.within(tx), LentConnection(tx))
        return [await self._work(client, shared, result) for result in results]

    async def _work(self, client: Client, shared: SharedConnection, result: JobInsertResult) -> JobInsertResult:
        if result.unique_skipped_as_duplicate:
            return result
        row, key = result.job, key_in(result.job.encoded_metadata)
        if row.state is JobState.AVAILABLE:
            row = await self._work_one(client, shared, row.id)
        if key is not None:
            await self._work_turns(client, shared, key)
            async with shared.acquire() as connection:
                row = await client.job_get(row.id, tx=connection)
        return JobInsertResult(row, False)

    async def _work_turns(self, client: Client, shared: SharedConnection, key: bytes) -> None:
        """Work the jobs of a sequence until it is over or halted."""
        turns = Turns(self.settings.schema)
        while True:
            async with shared.acquire() as connection:
                job_id = await turns.next_up(connection, key, [result.job.id for result in self.worked])
            if job_id is None:
                break
            await self._work_one(client, shared, job_id)

    async def _work_one(self, client: Client, shared: SharedConnection, job_id: int) -> JobRow:
        worked = await work_job(client, shared, job_id)
        self.worked.append(worked)
        return worked.job


class InlineSyncClient(SyncClient):
    """An ``InlineClient`` for the tests of programs without an event loop; ``timeout`` bounds the job, too.

    Args:
        dsn: as for ``SyncClient``; so is everything else.

    Attributes:
        worked: as of ``InlineClient``.
    """

    def __init__(self, dsn: str | None = None, *, workers: Workers, **settings: Any) -> None:
        self.worked: list[WorkResult] = []
        super().__init__(dsn, workers=workers, **settings)

    def _made(self, dsn: str | None, workers: Workers | None, settings: Mapping[str, Any]) -> Client:
        client = InlineClient(dsn, workers=workers or Workers(), **settings)
        self.worked = client.worked
        return client


@asynccontextmanager
async def migrated_schema(dsn: str) -> AsyncIterator[str]:
    """A new schema with all tables, dropped at the end; yields its name, for ``Client(dsn, schema=name)``.

    Each has tables and channels of its own, so tests that use one each cannot disturb one another, in parallel too.

    Args:
        dsn: a ``postgresql://`` URL whose user may create schemas.

    Raises:
        DatabaseUnavailableError: there is no connection.
    """
    schema = Schema(f"test_{secrets.token_hex(8)}")
    connection = await connect(dsn, application_name="rivermill testing")
    try:
        await connection.execute(f'CREATE SCHEMA "{schema.name}"')
        try:
            for line in LINES:
                await Migrator(connection, schema, line).up()
            yield schema.name
        finally:
            await connection.execute(f'DROP SCHEMA "{schema.name}" CASCADE')
    finally:
        await connection.close()


def _with_metadata(opts: InsertOpts | None, members: Mapping[str, Any]) -> InsertOpts:
    chosen = opts or InsertOpts()
    return replace(chosen, metadata=add_members(encode_object("metadata", chosen.metadata or {}), members))
