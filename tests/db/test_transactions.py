"""Transactions of other libraries: psycopg, and SQLAlchemy on asyncpg and on psycopg."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, create_async_engine

from rivermill import (
    UNIQUE_STATES_DEFAULT,
    Client,
    Concurrency,
    EventKind,
    InsertOpts,
    InsertParams,
    Job,
    JobFilter,
    JobListOrder,
    JobListParams,
    JobState,
    NotFoundError,
    RateLimit,
    SequenceOpts,
    Unique,
    UniqueConflictError,
    ValidationError,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill.testing import work_one

DUE = datetime(2040, 1, 1, tzinfo=UTC)


@dataclass
class Mail:
    to: str = "ann"
    kind: ClassVar[str] = "mail"


class End:
    """How a transaction of some library ends."""

    def __init__(self, commit: Callable[[], Any], rollback: Callable[[], Any]) -> None:
        self.commit = commit
        self.rollback = rollback


Begun = tuple[Any, End]


@asynccontextmanager
async def psycopg_connection(dsn: str) -> AsyncIterator[Begun]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        yield connection, End(connection.commit, connection.rollback)


@asynccontextmanager
async def engine(dsn: str, driver: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(dsn.replace("postgresql://", f"postgresql+{driver}://"))
    yield engine
    await engine.dispose()


def connection_on(driver: str) -> Callable[[str], AbstractAsyncContextManager[Begun]]:
    @asynccontextmanager
    async def begin(dsn: str) -> AsyncIterator[Begun]:
        async with engine(dsn, driver) as used, used.connect() as connection:
            yield connection, End(connection.commit, connection.rollback)

    return begin


def session_on(driver: str) -> Callable[[str], AbstractAsyncContextManager[Begun]]:
    @asynccontextmanager
    async def begin(dsn: str) -> AsyncIterator[Begun]:
        async with engine(dsn, driver) as used, AsyncSession(used) as session:
            yield session, End(session.commit, session.rollback)

    return begin


@asynccontextmanager
async def scoped_session(dsn: str) -> AsyncIterator[Begun]:
    async with engine(dsn, "asyncpg") as used:
        session = async_scoped_session(lambda: AsyncSession(used), scopefunc=lambda: None)
        yield session, End(session.commit, session.rollback)
        await session.remove()


LIBRARIES = {
    "psycopg": psycopg_connection,
    "SQLAlchemy connection on asyncpg": connection_on("asyncpg"),
    "SQLAlchemy connection on psycopg": connection_on("psycopg"),
    "SQLAlchemy session on asyncpg": session_on("asyncpg"),
    "SQLAlchemy session on psycopg": session_on("psycopg"),
    "SQLAlchemy scoped session": scoped_session,
}


@pytest.fixture(params=LIBRARIES)
async def begun(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Begun]:
    async with LIBRARIES[request.param](dsn) as begun:
        yield begun


async def count(connection: Connection, schema: Schema) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_job')}"))


async def test_inserts_end_with_the_transaction(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    for expected, finish in ((0, end.rollback), (3, end.commit)):
        inserted = await client.insert(Mail(), tx=tx)
        many = await client.insert_many([Mail("bob"), InsertParams(Mail("eve"), InsertOpts(tags=["one"]))], tx=tx)
        for result in (inserted, *many):
            assert (await client.job_get(result.id, tx=tx)) == result.job
        assert await count(connection, schema) == 0
        await finish()
        assert await count(connection, schema) == expected


async def test_copies_end_with_the_transaction(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    opts = InsertOpts(metadata={"a": 1}, tags=["one", "two"], scheduled_at=DUE, unique=Unique(by_args=True))
    for expected, finish in ((0, end.rollback), (2, end.commit)):
        assert await client.insert_many_fast([InsertParams(Mail(), opts), Mail("bob")], tx=tx) == 2
        await finish()
        assert await count(connection, schema) == expected
    ann, bob = (await client.job_list()).jobs
    assert (ann.metadata, ann.tags, ann.scheduled_at) == ({"a": 1}, ("one", "two"), DUE)
    assert ann.unique_key is not None
    assert set(ann.unique_states) == set(UNIQUE_STATES_DEFAULT)
    assert (bob.args, bob.tags, bob.unique_key) == ({"to": "bob"}, (), None)


async def test_workers_are_told_when_it_commits(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    told: asyncio.Queue[str] = asyncio.Queue()
    channel = schema.channel("river_insert")

    def tell(*event: Any) -> None:
        told.put_nowait(event[3])

    await connection.add_listener(channel, tell)
    await client.insert(Mail(), InsertOpts(queue="lost"), tx=tx)
    await end.rollback()
    await client.insert(Mail(), InsertOpts(queue="kept"), tx=tx)
    await connection.execute("SELECT 1")
    assert told.empty()
    await end.commit()
    assert await asyncio.wait_for(told.get(), 20) == '{"queue": "kept"}'
    await connection.remove_listener(channel, tell)


async def test_rows_are_the_same_as_with_asyncpg(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    opts = InsertOpts(metadata='{"n": 1.10}', priority=3, queue="post", tags=["one"], unique=Unique(by_queue=True))
    inserted = (await client.insert(Mail("é"), opts, tx=tx)).job
    await end.commit()
    assert inserted == await client.job_get(inserted.id)
    assert inserted.created_at.tzinfo is UTC
    assert inserted.encoded_metadata == '{"n": 1.10}'
    error = '{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "é", "trace": ""}'
    await connection.execute(
        f"UPDATE {schema.table('river_job')} SET state = 'discarded', finalized_at = now(), attempted_at = now(), "
        "attempted_by = ARRAY['a', 'b,c'], errors = ARRAY[$1::text::jsonb]",
        error,
    )
    assert await client.job_get(inserted.id, tx=tx) == await client.job_get(inserted.id)
    await end.rollback()


async def test_duplicates_and_conflicts(client: Client, begun: Begun) -> None:
    tx, end = begun
    unique = InsertOpts(unique=Unique(by_args=True))
    first = await client.insert(Mail(), unique)
    again = await client.insert(Mail(), unique, tx=tx)
    assert (again.unique_skipped_as_duplicate, again.job.id) == (True, first.job.id)
    with pytest.raises(UniqueConflictError, match="insert_many_fast: a unique key is taken"):
        await client.insert_many_fast([InsertParams(Mail(), unique)], tx=tx)
    await end.rollback()
    await client.cancel(first.job.id)
    await client.insert(Mail(), unique)
    with pytest.raises(UniqueConflictError, match=f"job {first.job.id}: another job with its unique key is alive"):
        await client.job_retry(first.job.id, tx=tx)
    await end.rollback()


async def test_a_key_that_an_open_transaction_holds_is_waited_for(client: Client, begun: Begun) -> None:
    tx, end = begun
    unique = InsertOpts(unique=Unique(by_args=True))
    inserted = await client.insert(Mail(), unique, tx=tx)
    other = asyncio.create_task(client.insert(Mail(), unique))
    done, _ = await asyncio.wait([other], timeout=0.2)
    assert not done
    await end.commit()
    assert ((await other).unique_skipped_as_duplicate, (await other).job.id) == (True, inserted.job.id)


async def test_everything_that_manages(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    queue = f"INSERT INTO {schema.table('river_queue')} (name, created_at, updated_at) VALUES ('post', now(), now())"
    await connection.execute(queue)
    jobs = [result.job for result in await client.insert_many([Mail(str(n)) for n in range(3)], tx=tx)]
    cancelled = await client.cancel(jobs[0].id, tx=tx)
    assert (cancelled.state, "cancel_attempted_at" in (cancelled.metadata or {})) == (JobState.CANCELLED, True)
    assert (await client.job_retry(jobs[0].id, tx=tx)).state is JobState.AVAILABLE
    assert (await client.job_update(jobs[1].id, output=[1, "é"], tx=tx)).metadata == {"output": [1, "é"]}
    assert (await client.job_delete(jobs[2].id, tx=tx)).id == jobs[2].id
    with pytest.raises(NotFoundError):
        await client.job_get(jobs[2].id, tx=tx)
    params = JobListParams(
        kinds=["mail"], states=[JobState.AVAILABLE], order_by=JobListOrder.SCHEDULED_AT, limit=1, metadata={"output": [1]}
    )
    page = await client.job_list(params, tx=tx)
    assert [job.id for job in page.jobs] == [jobs[1].id]
    assert (await client.job_list(replace(params, after=page.last_cursor), tx=tx)).jobs == []
    assert len(await client.job_delete_many(JobFilter(ids=[job.id for job in jobs], priorities=[1]), tx=tx)) == 2
    await client.queue_pause("post", tx=tx)
    assert (await client.queue_get("post", tx=tx)).paused_at is not None
    await client.queue_resume("*", tx=tx)
    assert (await client.queue_update("post", metadata={"a": 1}, tx=tx)).metadata == {"a": 1}
    assert "concurrency" in (await client.queue_limit("post", Concurrency(global_limit=2), tx=tx)).metadata
    rate = RateLimit(2, timedelta(seconds=1))
    assert set((await client.queue_rate_limit("post", rate, tx=tx)).metadata) == {"a", "concurrency", "rate_limit"}
    assert [queue.name for queue in await client.queue_list(tx=tx)] == ["post"]
    await client.request_resign(tx=tx)
    await end.rollback()
    untouched = await client.queue_get("post")
    assert (untouched.metadata, untouched.paused_at) == ({}, None)


async def test_it_joins_what_the_caller_has_begun(client: Client, connection: Connection, schema: Schema, begun: Begun) -> None:
    """The caller's own statements, before and after, are in the same transaction."""
    tx, end = begun
    table = f'"{schema.name}".account'
    await connection.execute(f"CREATE TABLE {table} (name text)")
    statement = f"INSERT INTO {table} VALUES ('ann')"
    run = tx.execute
    for expected, finish in ((0, end.rollback), (1, end.commit)):
        await run(statement if isinstance(tx, psycopg.AsyncConnection) else text(statement))
        await client.insert(Mail(), tx=tx)
        await finish()
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == expected
        assert await count(connection, schema) == expected


async def test_jobs_are_worked_in_it(dsn: str, connection: Connection, schema: Schema, begun: Begun) -> None:
    tx, end = begun
    workers = Workers()

    @workers.work
    async def work(job: Job[Mail]) -> None:
        job.record_output(job.args.to)
        await job.client.job_complete(job, tx=tx)
        await job.client.insert(Mail("next"))

    result = await work_one(Client(dsn, schema=schema, workers=workers), Mail("é"), tx=tx)
    assert (result.kind, result.error, result.job.metadata) == (EventKind.JOB_COMPLETED, None, {"output": "é"})
    await end.rollback()
    assert await count(connection, schema) == 0


async def test_psycopg_without_a_transaction(client: Client, connection: Connection, schema: Schema, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as tx:
        await client.insert(Mail(), tx=tx)
        assert await count(connection, schema) == 1
        unique = InsertOpts(unique=Unique(by_args=True))
        with pytest.raises(UniqueConflictError):
            await client.insert_many_fast([InsertParams(Mail(), unique), InsertParams(Mail(), unique)], tx=tx)
        assert await count(connection, schema) == 1
        assert await client.insert_many_fast([Mail("bob")], tx=tx) == 1


async def test_a_pipeline_of_psycopg(client: Client, connection: Connection, schema: Schema, dsn: str) -> None:
    opts = InsertOpts(unique=Unique(by_args=True))
    async with await psycopg.AsyncConnection.connect(dsn) as tx, tx.pipeline():
        before = await tx.execute("SELECT 1")
        first = await client.insert(Mail(), opts, tx=tx)
        assert (await client.insert(Mail(), opts, tx=tx)).unique_skipped_as_duplicate
        assert [result.job.args for result in await client.insert_many([Mail("bob")], tx=tx)] == [{"to": "bob"}]
        assert (await client.cancel(first.job.id, tx=tx)).state is JobState.CANCELLED
        with pytest.raises(NotFoundError):
            await client.job_get(999, tx=tx)
        assert await before.fetchone() == (1,)
        assert await count(connection, schema) == 0
    assert await count(connection, schema) == 2


async def test_a_savepoint_of_sqlalchemy(client: Client, connection: Connection, schema: Schema, dsn: str) -> None:
    async with engine(dsn, "asyncpg") as used, AsyncSession(used) as session, session.begin():
        await client.insert(Mail(), tx=session)
        savepoint = await session.begin_nested()
        await client.insert(Mail(), tx=session)
        await savepoint.rollback()
    assert await count(connection, schema) == 1


async def test_a_pool_of_asyncpg(client: Client, connection: Connection, schema: Schema, dsn: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as tx, tx.transaction():
        await client.insert(Mail(), tx=tx)
    assert await count(connection, schema) == 1


async def test_what_is_no_transaction_is_refused(client: Client, dsn: str) -> None:
    with psycopg.connect(dsn) as synchronous:
        for wrong, name in ((synchronous, "psycopg.Connection"), (dsn, "builtins.str")):
            with pytest.raises(ValidationError, match=f"tx is a {name}: give an asyncpg connection"):
                await client.insert(Mail(), tx=wrong)


def test_the_libraries_are_imported_only_by_those_who_use_them() -> None:
    code = (
        "import sys, rivermill, rivermill.cli, rivermill.testing\n"
        "assert not {'psycopg', 'sqlalchemy'} & sys.modules.keys(), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_sequences_begin_with_the_transaction(
    client: Client, connection: Connection, schema: Schema, begun: Begun
) -> None:
    tx, end = begun
    opts = InsertOpts(sequence=SequenceOpts())
    turns = f"SELECT count(*) FROM {schema.table('rivermill_sequence')}"
    for expected, finish in ((0, end.rollback), (1, end.commit)):
        jobs = await client.insert_many([InsertParams(Mail(), opts), InsertParams(Mail(), opts)], tx=tx)
        assert [result.job.state for result in jobs] == [JobState.AVAILABLE, JobState.PENDING]
        await finish()
        assert await connection.fetchval(turns) == expected
