"""Working single jobs in tests: the attempt is the one of production, and the transaction the caller's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from rivermill import (
    Client,
    ConfigError,
    ErrorHandlerResult,
    EventKind,
    Hook,
    InsertOpts,
    Job,
    JobCancel,
    JobFailure,
    JobQueue,
    JobRow,
    JobSnooze,
    JobState,
    JobTimeoutError,
    Middleware,
    RivermillError,
    Unique,
    ValidationError,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill.testing import (
    InlineClient,
    require_inserted,
    require_not_inserted,
    resumable_step_after,
    resumable_step_at_cursor,
    work_one,
)

LATER = datetime(2040, 1, 1, tzinfo=UTC)


@dataclass
class Mail:
    to: str = "ann"
    kind: ClassVar[str] = "mail"


@dataclass
class Receipt:
    kind: ClassVar[str] = "receipt"


@pytest.fixture
async def tx(connection: Connection, schema: Schema) -> AsyncIterator[Connection]:
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_job')}") == 0


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
async def make(dsn: str, schema: Schema, workers: Workers) -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(kind: type[Client] = Client, **settings: Any) -> Client:
        clients.append(kind(dsn, schema=schema, workers=workers, **settings))
        return clients[-1]

    yield make
    for client in clients:
        await client.stop()


def mails(workers: Workers, outcome: Callable[[Job[Mail]], Awaitable[None]], **options: Any) -> None:
    """Work mails by a function."""

    @workers.work(**options)
    async def work(job: Job[Mail]) -> None:
        await outcome(job)


async def test_a_success(make: Callable[..., Client], workers: Workers, tx: Connection) -> None:
    async def work(job: Job[Mail]) -> None:
        job.record_output({"sent": job.args.to})

    mails(workers, work)
    client = make()
    result = await work_one(client, Mail("bob"), InsertOpts(queue="post"), tx=tx)
    assert (result.kind, result.error) == (EventKind.JOB_COMPLETED, None)
    assert (result.job.state, result.job.queue, result.job.attempt) == (JobState.COMPLETED, "post", 1)
    assert result.job.metadata == {"output": {"sent": "bob"}}
    assert result.job.attempted_by == (client.settings.client_id,)
    assert await client.job_get(result.job.id, tx=tx) == result.job
    await require_not_inserted(client, Mail)  # not outside of the transaction


@pytest.mark.parametrize(
    ("raised", "kind", "state"),
    [
        (ZeroDivisionError("no"), EventKind.JOB_FAILED, JobState.AVAILABLE),
        (SystemExit(3), EventKind.JOB_FAILED, JobState.AVAILABLE),
        (JobCancel("no"), EventKind.JOB_CANCELLED, JobState.CANCELLED),
        (JobSnooze(timedelta(hours=1)), EventKind.JOB_SNOOZED, JobState.SCHEDULED),
    ],
    ids=["error", "panic", "cancel", "snooze"],
)
async def test_what_a_worker_raises(
    make: Callable[..., Client], workers: Workers, tx: Connection, raised: BaseException, kind: EventKind, state: JobState
) -> None:
    async def work(job: Job[Mail]) -> None:
        raise raised

    mails(workers, work)
    result = await work_one(make(), Mail(), tx=tx)
    assert (result.kind, result.job.state) == (kind, state)
    assert result.error is (raised if kind is EventKind.JOB_FAILED else None)
    assert len(result.job.errors) == (0 if kind is EventKind.JOB_SNOOZED else 1)


async def test_everything_around_an_attempt_is_there(make: Callable[..., Client], workers: Workers, tx: Connection) -> None:
    seen: list[str] = []

    class Around(Middleware, Hook):
        async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
            seen.append("middleware")
            await inner()

        async def work_begin(self, job: Job[Any]) -> None:
            seen.append("hook")

    class Handler:
        async def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult:
            seen.append(type(error).__name__)
            return ErrorHandlerResult(set_cancelled=True)

        async def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> None:
            raise AssertionError

    async def work(job: Job[Mail]) -> None:
        seen.append("worker")
        await asyncio.sleep(60)

    mails(workers, work, timeout=timedelta(milliseconds=20))
    around = Around()
    result = await work_one(make(hooks=[around], middleware=[around], error_handler=Handler()), Mail(), tx=tx)
    assert seen == ["middleware", "hook", "worker", "JobTimeoutError"]
    assert isinstance(result.error, JobTimeoutError)
    assert (result.kind, result.job.state) == (EventKind.JOB_CANCELLED, JobState.CANCELLED)


@pytest.mark.parametrize("error", [JobFailure("no"), SystemExit("no")], ids=["error", "panic"])
async def test_error_handlers_may_be_plain_functions(
    make: Callable[..., Client], workers: Workers, tx: Connection, error: BaseException
) -> None:
    class Handler:
        def handle_error(self, job: JobRow, error: BaseException) -> ErrorHandlerResult:
            return ErrorHandlerResult(set_cancelled=True)

        def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> ErrorHandlerResult:
            return ErrorHandlerResult(set_cancelled=True)

    async def work(job: Job[Mail]) -> None:
        raise error

    mails(workers, work)
    result = await work_one(make(error_handler=Handler()), Mail(), tx=tx)
    assert (result.error, result.job.state) == (error, JobState.CANCELLED)


async def test_threads_run_what_belongs_there(make: Callable[..., Client], workers: Workers, tx: Connection) -> None:
    places: list[threading.Thread] = []

    @workers.work
    def work(job: Job[Mail]) -> None:
        places.append(threading.current_thread())

    assert (await work_one(make(), Mail(), tx=tx)).kind is EventKind.JOB_COMPLETED
    assert places[0] is not threading.current_thread()


async def test_the_client_of_the_job_is_in_the_transaction(
    make: Callable[..., Client], workers: Workers, tx: Connection
) -> None:
    async def work(job: Job[Mail]) -> None:
        await job.client.insert(Receipt())

    @workers.work
    async def receipt(job: Job[Receipt]) -> None: ...

    mails(workers, work)
    client = make()
    await work_one(client, Mail(), tx=tx)
    await require_inserted(client, Receipt, tx=tx)


async def test_a_job_that_is_there_already(make: Callable[..., Client], workers: Workers, tx: Connection) -> None:
    async def work(job: Job[Mail]) -> None: ...

    mails(workers, work)
    client = make()
    inserted = await client.insert(Mail(), InsertOpts(scheduled_at=LATER), tx=tx)
    assert inserted.job.state is JobState.SCHEDULED
    result = await work_one(client, inserted.job, tx=tx)
    assert (result.job.id, result.job.state) == (inserted.job.id, JobState.COMPLETED)
    with pytest.raises(ValidationError, match=rf"^job {result.job.id} is completed: only jobs that are available, "):
        await work_one(client, result.job, tx=tx)


async def test_a_duplicate_is_nobodys_job(make: Callable[..., Client], workers: Workers, tx: Connection) -> None:
    async def work(job: Job[Mail]) -> None: ...

    mails(workers, work)
    client, unique = make(), InsertOpts(unique=Unique(by_args=True))
    await client.insert(Mail(), unique, tx=tx)
    with pytest.raises(AssertionError, match=r"it is a duplicate: there is \d+ \(mail in default"):
        await work_one(client, Mail(), unique, tx=tx)


async def test_a_client_without_workers_is_refused(dsn: str, schema: Schema, tx: Connection) -> None:
    with pytest.raises(ConfigError, match="without workers= works no jobs"):
        await work_one(Client(dsn, schema=schema), Mail(), tx=tx)


async def test_a_transaction_that_the_worker_breaks_is_told(
    make: Callable[..., Client], workers: Workers, connection: Connection
) -> None:
    async def work(job: Job[Mail]) -> None:
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT 1 / 0")

    mails(workers, work)
    transaction = connection.transaction()
    await transaction.start()
    with pytest.raises(RivermillError, match=r"could not be written"):
        await work_one(make(), Mail(), tx=connection)
    await transaction.rollback()


async def test_a_test_that_gives_up_leaves_nothing_running(
    make: Callable[..., Client], workers: Workers, tx: Connection
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(job: Job[Mail]) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    mails(workers, work)
    task = asyncio.create_task(work_one(make(), Mail(), tx=tx))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


# --- every job at once ---


async def sign_up(jobs: JobQueue) -> None:
    """A program: it knows the port only."""
    await jobs.enqueue(Mail())


@pytest.fixture
def sent(workers: Workers) -> list[str]:
    """Mails send receipts; what was worked, in order."""
    done: list[str] = []

    @workers.work
    async def mail(job: Job[Mail]) -> None:
        await job.client.insert(Receipt())
        done.append(job.args.to)

    @workers.work
    async def receipt(job: Job[Receipt]) -> None:
        done.append("receipt")

    return done


async def test_jobs_are_worked_when_they_are_inserted(make: Callable[..., InlineClient], sent: list[str]) -> None:
    client = make(InlineClient)
    await sign_up(client)
    assert sent == ["receipt", "ann"]
    assert [(one.kind, one.job.kind) for one in client.worked] == [
        (EventKind.JOB_COMPLETED, "receipt"),
        (EventKind.JOB_COMPLETED, "mail"),
    ]
    assert (await client.insert(Receipt())).job.state is JobState.COMPLETED


async def test_jobs_are_worked_in_the_transaction(make: Callable[..., InlineClient], sent: list[str], tx: Connection) -> None:
    client = make(InlineClient)
    await sign_up(client.within(tx))
    await client.insert(Receipt(), tx=tx)
    assert sent == ["receipt", "ann", "receipt"]
    assert len(client.worked) == 3


async def test_one_job_is_worked_once(make: Callable[..., InlineClient], sent: list[str], tx: Connection) -> None:
    client = make(InlineClient)
    assert (await work_one(client, Receipt(), tx=tx)).kind is EventKind.JOB_COMPLETED
    assert (sent, client.worked) == (["receipt"], [])


async def test_what_is_not_due_or_a_duplicate_is_left_alone(make: Callable[..., InlineClient], sent: list[str]) -> None:
    client = make(InlineClient)
    unique = Unique(by_args=True)
    later = await client.insert(Receipt(), InsertOpts(scheduled_at=LATER), unique=unique)
    again = await client.insert(Receipt(), unique=unique)
    assert (again.unique_skipped_as_duplicate, again.job.id) == (True, later.job.id)
    assert await client.insert_many_fast([Receipt()]) == 1
    assert sent == []


async def test_a_job_that_fails_is_recorded(make: Callable[..., InlineClient], workers: Workers) -> None:
    async def work(job: Job[Mail]) -> None:
        raise ZeroDivisionError("no")

    mails(workers, work)
    client = make(InlineClient)
    await sign_up(client)
    (result,) = client.worked
    assert (result.kind, str(result.error)) == (EventKind.JOB_FAILED, "no")


@pytest.mark.parametrize(
    ("opts", "found"),
    [
        (resumable_step_after("a"), [["a", False, None], ["b", True, None]]),
        (resumable_step_at_cursor("a", {"at": 7}), [["a", True, {"at": 7}], ["b", True, None]]),
        (resumable_step_after("b", InsertOpts(metadata={"more": 1}, priority=2)), [["a", False, None], ["b", False, None]]),
    ],
)
async def test_a_resumable_job_may_begin_behind_a_step(
    make: Callable[..., Client], workers: Workers, tx: Connection, opts: InsertOpts, found: list[Any]
) -> None:
    async def work(job: Job[Mail]) -> None:
        seen = []
        for name in ("a", "b"):
            with job.step(name) as step:
                seen.append([name, step.needed, step.cursor])
        job.record_output(seen)

    mails(workers, work)
    result = await work_one(make(), Mail(), opts, tx=tx)
    assert result.job.metadata is not None
    assert result.job.metadata["output"] == found
    assert (result.job.metadata.get("more"), result.job.priority) in ((None, 1), (1, 2))
