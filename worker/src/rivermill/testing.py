"""Helpers for the tests of programs that insert and work jobs.

What was inserted, working one job in a transaction that is rolled back, working every job as it is inserted, and a schema of
its own for each test. Mirrors ``RequireInserted``, ``RequireNotInserted``, ``RequireManyInserted``, ``Worker`` and the
``ResumableStep…`` of River's ``rivertest``, and ``TestSchema`` of its ``riverdbtest``. A requirement that is not met raises
``AssertionError``, which says what was found instead.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from rivermill.args import decode_args, encode_args, kind_of
from rivermill.client import Client
from rivermill.db import SharedConnection, connect
from rivermill.gojson import add_members, encode
from rivermill.inline import WorkResult, work_job
from rivermill.insert import JobInsertResult
from rivermill.insert_rows import InsertOpts, InsertParams
from rivermill.job import Job, JobRow, JobState
from rivermill.joblist import MAX_LIST, JobListParams
from rivermill.jsonb import encode_object
from rivermill.migrations import LINES, Migrator
from rivermill.resumable import progress
from rivermill.schema import Schema
from rivermill.sequences import Turns, key_in
from rivermill.sync import SyncClient
from rivermill.transactions import LentConnection, Transaction
from rivermill.worker import Workers

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Expected:
    """A job that is expected; what is None is not looked at.

    Args:
        args: an args type, or an args value to which the job's args must be equal.
        max_attempts: its ``max_attempts``.
        priority: its priority, 1 to 4.
        queue: its queue.
        scheduled_at: when it is due; an aware time.
        state: its state.
        tags: all its tags, in order.
    """

    args: Any
    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    state: JobState | None = None
    tags: Sequence[str] | None = None

    @property
    def kind(self) -> str:
        """The kind of its args."""
        return kind_of(self.args)

    @property
    def args_type(self) -> type[Any]:
        """The type of its args."""
        return self.args if isinstance(self.args, type) else type(self.args)

    def differences(self, row: JobRow) -> list[str]:
        """In what a job is another than the one expected, e.g. ``queue is 'default', not 'mail'``."""
        found = []
        if not isinstance(self.args, type):
            stored, wanted = decode_args(self.args_type, encode(row.args)), decode_args(self.args_type, encode_args(self.args))
            if stored != wanted:
                found.append(f"args are {stored!r}, not {wanted!r}")
        for name in (f.name for f in fields(self) if f.name != "args"):
            want, have = getattr(self, name), getattr(row, name)
            if want is not None and (list(want) != list(have) if name == "tags" else want != have):
                found.append(f"{name} is {_show(have)}, not {_show(want)}")
        return found


async def require_inserted(client: Client, expected: Any, *, tx: Transaction | None = None) -> Job[Any]:
    """Require that exactly one job of a kind exists, and that it is the one expected.

    Args:
        client: reads the jobs; it needs no workers and no start.
        expected: an args type, an args value, or ``Expected``.
        tx: as for ``Client.insert``, to see what an open transaction has inserted.

    Returns:
        The job, its args decoded.

    Raises:
        AssertionError: there is none, more than one, or it is another.
    """
    __tracebackhide__ = True
    wanted = _expected(expected)
    rows = await _of_kinds(client, [wanted.kind], tx)
    if len(rows) != 1:
        found = await _found(client, tx)
        raise AssertionError(f"expected one job of kind {wanted.kind!r}, there are {len(rows)}; {found}")
    _require_same(wanted, rows[0])
    return _job(wanted, rows[0])


async def require_not_inserted(client: Client, expected: Any, *, tx: Transaction | None = None) -> None:
    """Require that no job exists that is the one described; arguments as for ``require_inserted``.

    Raises:
        AssertionError: there is one.
    """
    __tracebackhide__ = True
    wanted = _expected(expected)
    matching = [row for row in await _of_kinds(client, [wanted.kind], tx) if not wanted.differences(row)]
    if matching:
        raise AssertionError(f"expected no such job of kind {wanted.kind!r}, there is {_describe(matching)}")


async def require_many_inserted(client: Client, expected: Iterable[Any], *, tx: Transaction | None = None) -> list[Job[Any]]:
    """Require that the jobs of the kinds named are these and no others, in the order of their ids.

    Args:
        client: as for ``require_inserted``.
        expected: args types, args values or ``Expected``, one for each job; a kind may occur several times.
        tx: as for ``require_inserted``.

    Returns:
        The jobs, in the same order.

    Raises:
        AssertionError: there are other jobs of these kinds, in number, order or any value that is expected.
    """
    __tracebackhide__ = True
    wanted = [_expected(item) for item in expected]
    rows = await _of_kinds(client, sorted({item.kind for item in wanted}), tx)
    kinds, found = [item.kind for item in wanted], [row.kind for row in rows]
    if kinds != found:
        raise AssertionError(f"expected jobs of the kinds {kinds}, there are {found}; {await _found(client, tx)}")
    for number, (item, row) in enumerate(zip(wanted, rows, strict=True)):
        _require_same(item, row, f"job {number} of those expected: ")
    return [_job(item, row) for item, row in zip(wanted, rows, strict=True)]


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
        raise AssertionError(f"the job was not inserted, as it is a duplicate: there is {_describe([result.job])}")
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


def _expected(value: Any) -> Expected:
    return value if isinstance(value, Expected) else Expected(value)


def _job(wanted: Expected, row: JobRow) -> Job[Any]:
    return Job(decode_args(wanted.args_type, encode(row.args)), row)


def _require_same(wanted: Expected, row: JobRow, which: str = "") -> None:
    __tracebackhide__ = True
    differences = wanted.differences(row)
    if differences:
        raise AssertionError(f"{which}job {row.id} of kind {row.kind!r} is another: {'; '.join(differences)}")


async def _of_kinds(client: Client, kinds: Sequence[str], tx: Transaction | None) -> list[JobRow]:
    if not kinds:
        raise ValueError("no jobs are expected: name at least one, or use require_not_inserted")
    return (await client.job_list(JobListParams(kinds=kinds, limit=MAX_LIST), tx=tx)).jobs


async def _found(client: Client, tx: Transaction | None) -> str:
    rows = (await client.job_list(JobListParams(limit=_MOST_SHOWN), tx=tx)).jobs
    return f"the jobs are {_describe(rows)}" if rows else "there is no job at all"


def _describe(rows: Sequence[JobRow]) -> str:
    texts = [f"{row.id} ({row.kind} in {row.queue}, {row.state}, {encode(row.args)[:80]})" for row in rows[:_MOST_SHOWN]]
    return ", ".join(texts)


def _show(value: Any) -> str:
    return str(value) if isinstance(value, JobState | datetime) else repr(list(value) if isinstance(value, tuple) else value)
