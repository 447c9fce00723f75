"""``SyncClient`` in transactions of psycopg and of SQLAlchemy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from rivermill import (
    Client,
    Concurrency,
    InsertOpts,
    InsertParams,
    Job,
    JobFilter,
    JobState,
    NotFoundError,
    RateLimit,
    SequenceOpts,
    SyncClient,
    Unique,
    UniqueConflictError,
    ValidationError,
    Workers,
)
from rivermill.schema import Schema
from rivermill.testing import InlineSyncClient


@dataclass
class Mail:
    n: int = 0
    kind: ClassVar[str] = "mail"


UNIQUE = InsertOpts(unique=Unique(by_args=True))


@contextmanager
def of_psycopg(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn) as connection:
        yield connection


@contextmanager
def engine(dsn: str) -> Iterator[Engine]:
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


@contextmanager
def of_a_connection(dsn: str) -> Iterator[Any]:
    with engine(dsn) as used, used.connect() as connection:
        yield connection


@contextmanager
def of_a_session(dsn: str) -> Iterator[Any]:
    with engine(dsn) as used, Session(used) as session:
        yield session


@contextmanager
def of_a_scoped_session(dsn: str) -> Iterator[Any]:
    with engine(dsn) as used:
        session = scoped_session(sessionmaker(used))
        yield session
        session.remove()


LIBRARIES: dict[str, Callable[[str], AbstractContextManager[Any]]] = {
    "psycopg": of_psycopg,
    "SQLAlchemy connection": of_a_connection,
    "SQLAlchemy session": of_a_session,
    "SQLAlchemy scoped session": of_a_scoped_session,
}


@pytest.fixture(params=LIBRARIES)
def tx(request: pytest.FixtureRequest, dsn: str) -> Iterator[Any]:
    with LIBRARIES[request.param](dsn) as tx:
        yield tx


def test_inserts_end_with_the_transaction(client: SyncClient, tx: Any) -> None:
    for expected, finish in ((0, tx.rollback), (4, tx.commit)):
        job = client.insert(Mail(), tx=tx).job
        assert client.job_get(job.id, tx=tx) == job
        client.insert_many([Mail(), Mail()], tx=tx)
        assert client.insert_many_fast([Mail()], tx=tx) == 1
        assert client.job_list().jobs == []
        finish()
        assert len(client.job_list().jobs) == expected


def test_sequences_begin_with_the_transaction(client: SyncClient, tx: Any) -> None:
    opts = InsertOpts(sequence=SequenceOpts())
    for finish in (tx.rollback, tx.commit):
        jobs = client.insert_many([InsertParams(Mail(), opts), InsertParams(Mail(), opts)], tx=tx)
        assert [result.job.state for result in jobs] == [JobState.AVAILABLE, JobState.PENDING]
        finish()
    assert client.insert(Mail(), opts).job.state is JobState.PENDING


def test_conflicts(client: SyncClient, tx: Any) -> None:
    first = client.insert(Mail(), UNIQUE).job
    assert client.insert(Mail(), UNIQUE, tx=tx).unique_skipped_as_duplicate
    with pytest.raises(UniqueConflictError):
        client.insert_many_fast([InsertParams(Mail(), UNIQUE)], tx=tx)
    tx.rollback()
    assert client.cancel(first.id, tx=tx).state is JobState.CANCELLED
    tx.commit()
    assert client.job_get(first.id).state is JobState.CANCELLED


def test_managing(client: SyncClient, tx: Any) -> None:
    job = client.insert(Mail(), tx=tx).job
    assert client.cancel(job.id, tx=tx).state is JobState.CANCELLED
    assert client.job_retry(job.id, tx=tx).state is JobState.AVAILABLE
    assert client.job_update(job.id, output=1, tx=tx).metadata == {"output": 1}
    assert client.job_delete(job.id, tx=tx).id == job.id
    assert client.job_delete_many(JobFilter(kinds=["mail"]), tx=tx) == []
    assert client.job_list(tx=tx).jobs == []
    client.queue_pause("*", tx=tx)
    client.queue_resume("*", tx=tx)
    assert client.queue_list(tx=tx) == []
    client.request_resign(tx=tx)
    calls: list[Callable[[], object]] = [
        lambda: client.queue_get("a", tx=tx),
        lambda: client.queue_update("a", metadata={}, tx=tx),
        lambda: client.queue_limit("a", Concurrency(global_limit=1), tx=tx),
        lambda: client.queue_rate_limit("a", RateLimit(1, timedelta(seconds=1)), tx=tx),
    ]
    for call in calls:
        with pytest.raises(NotFoundError):
            call()


def test_psycopg_without_a_transaction(client: SyncClient, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        client.insert(Mail(), tx=connection)
        with pytest.raises(UniqueConflictError):
            client.insert_many_fast([InsertParams(Mail(), UNIQUE)] * 2, tx=connection)
        assert client.insert_many_fast([Mail(), Mail()], tx=connection) == 2
    assert len(client.job_list().jobs) == 3


def test_a_pipeline_of_psycopg(client: SyncClient, dsn: str) -> None:
    with psycopg.connect(dsn) as tx, tx.pipeline():
        before = tx.execute("SELECT 1")
        job = client.insert(Mail(1), UNIQUE, tx=tx).job
        assert client.insert(Mail(1), UNIQUE, tx=tx).job == job
        assert client.job_retry(job.id, tx=tx).state is JobState.AVAILABLE
        assert before.fetchone() == (1,)
    assert [job.args for job in client.job_list().jobs] == [{"n": 1}]


def test_what_is_no_transaction_is_refused(client: SyncClient, dsn: str) -> None:
    with pytest.raises(ValidationError, match=r"tx is a builtins\.str: give a psycopg Connection"):
        client.insert(Mail(), tx=dsn)


def test_a_call_that_takes_too_long_leaves_the_connection_to_its_owner(dsn: str, sync_schema: str) -> None:
    """What nobody waits for any more is cancelled on the server, too: a rollback need not wait for it."""
    with (
        psycopg.connect(dsn) as holder,
        psycopg.connect(dsn) as connection,
        SyncClient(dsn, schema=sync_schema, timeout=timedelta(seconds=2)) as client,
    ):
        holder.execute(f'LOCK TABLE "{sync_schema}".river_job'.encode())
        with pytest.raises(TimeoutError, match="no answer within 2 s"):
            client.insert(Mail(), tx=connection)
        connection.rollback()
        holder.rollback()
        assert client.insert(Mail(), tx=connection).job.args == {"n": 0}


def test_threads_with_transactions_of_their_own(client: SyncClient, dsn: str) -> None:
    barrier = threading.Barrier(4)

    def insert(n: int) -> int:
        with psycopg.connect(dsn) as connection:
            job = client.insert(Mail(n), tx=connection).job
            barrier.wait(30)  # all of them are open at once
        return job.id

    with ThreadPoolExecutor(4) as threads:
        ids = list(threads.map(insert, range(4)))
    assert sorted(ids) == [job.id for job in client.job_list().jobs]


@dataclass
class Charge:
    dsn: str = ""
    schema: str = ""
    kind: ClassVar[str] = "charge"


def charge(job: Job[Charge]) -> None:
    job.record_output("charged")
    with SyncClient(job.args.dsn, schema=job.args.schema) as client, psycopg.connect(job.args.dsn) as connection:
        client.job_complete(job, tx=connection)
    raise ZeroDivisionError


async def test_a_worker_in_a_process_completes_its_job(dsn: str, schema: Schema) -> None:
    workers = Workers()
    workers.work(executor="process")(charge)
    async with Client(dsn, schema=schema, workers=workers, queues={"default": 1}) as client:
        with client.subscribe(["job_completed"]) as events:
            await client.enqueue(Charge(dsn, schema.name))
            event = await asyncio.wait_for(anext(events), 60)
    assert event.job is not None
    assert (event.job.state, event.job.metadata, event.job.errors) == (JobState.COMPLETED, {"output": "charged"}, ())


async def test_a_worker_in_a_thread_completes_its_job(dsn: str, schema: Schema) -> None:
    workers, sync = Workers(), SyncClient(dsn, schema=schema)

    @workers.work
    def work(job: Job[Mail]) -> None:
        with psycopg.connect(dsn) as connection:
            sync.insert(Mail(job.args.n + 1), InsertOpts(queue="next"), tx=connection)
            sync.job_complete(job, tx=connection)
        raise ZeroDivisionError  # counts for nothing any more

    async with Client(dsn, schema=schema, workers=workers, queues={"default": 1}) as client:
        with client.subscribe(["job_completed"]) as events:
            await client.enqueue(Mail())
            event = await asyncio.wait_for(anext(events), 20)
        first, following = (await client.job_list()).jobs
    await asyncio.to_thread(sync.close)
    assert (first, first.state, first.errors) == (event.job, JobState.COMPLETED, ())
    assert (following.args, following.queue) == ({"n": 1}, "next")


def test_jobs_are_worked_when_they_are_inserted(dsn: str, sync_schema: str, tx: Any) -> None:
    workers = Workers()
    done: list[int] = []

    @workers.work
    def work(job: Job[Mail]) -> None:
        done.append(job.args.n)

    with InlineSyncClient(dsn, workers=workers, schema=sync_schema) as client:
        assert client.enqueue(Mail(1)).state is JobState.COMPLETED
        client.insert(Mail(2), tx=tx)
        tx.rollback()
        assert (done, [one.job.args["n"] for one in client.worked]) == ([1, 2], [1, 2])
        assert len(client.job_list().jobs) == 1
