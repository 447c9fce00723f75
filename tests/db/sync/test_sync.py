"""The client for synchronous programs, on a real database. Its tests are plain functions, as its users are."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import (
    BlockingCallError,
    Client,
    ConfigError,
    InsertOpts,
    JobFilter,
    JobListParams,
    JobState,
    MigrationError,
    NotFoundError,
    NotStartedError,
    SyncClient,
    ValidationError,
)
from rivermill.db import connect
from rivermill.errors import DatabaseUnavailableError


@dataclass
class Mail:
    n: int = 0
    kind: ClassVar[str] = "mail"


def execute(dsn: str, sql: str) -> None:
    async def run() -> None:
        connection = await connect(dsn, application_name="test")
        await connection.execute(sql)
        await connection.close()

    asyncio.run(run())


def test_everything_but_working_is_there() -> None:
    left_out = {"start", "stop", "stopped"}
    for name, method in inspect.getmembers(Client, inspect.iscoroutinefunction):
        if name.startswith("_") or name in left_out:
            continue
        wanted = [p.replace(annotation=str(p.annotation)) for p in inspect.signature(method).parameters.values()]
        mine = inspect.signature(getattr(SyncClient, name)).parameters.values()
        assert [p.replace(annotation=str(p.annotation)) for p in mine] == wanted, name


def test_inserting(client: SyncClient) -> None:
    job = client.insert(Mail(1), InsertOpts(tags=["one"])).job
    assert client.job_get(job.id) == job
    assert len(client.insert_many([Mail(2), Mail(3)])) == client.insert_many_fast([Mail(4), Mail(5)]) == 2
    assert client.enqueue(Mail()).state is JobState.AVAILABLE
    assert client.enqueue_with_priority(Mail(), 3).priority == 3
    due = datetime(2030, 1, 1, tzinfo=UTC)
    assert client.enqueue_scheduled(Mail(), due).scheduled_at == due
    assert len(client.job_list(JobListParams(kinds=["mail"])).jobs) == 8


def test_a_generator_runs_where_it_was_made(client: SyncClient) -> None:
    ran: list[threading.Thread] = []

    def mails(count: int) -> Iterator[Mail]:
        for n in range(count):
            ran.append(threading.current_thread())
            yield Mail(n)

    assert len(client.insert_many(mails(2))) == client.insert_many_fast(mails(2)) == 2
    assert set(ran) == {threading.current_thread()}
    for insert in (client.insert_many, client.insert_many_fast):
        with pytest.raises(ValidationError, match="use a list, or insert for one job"):
            insert(Mail())  # type: ignore[operator]


def test_managing(dsn: str, sync_schema: str, client: SyncClient) -> None:
    first, second = (result.id for result in client.insert_many([Mail(), Mail()]))
    assert client.cancel(first).state is JobState.CANCELLED
    assert client.job_retry(first).state is JobState.AVAILABLE
    assert (client.job_update(first, output=1).metadata or {})["output"] == 1
    assert client.job_delete(first).id == first
    assert [job.id for job in client.job_delete_many(JobFilter(kinds=["mail"]))] == [second]
    with pytest.raises(NotFoundError):
        client.job_get(first)
    execute(dsn, f"INSERT INTO \"{sync_schema}\".river_queue (name) VALUES ('a')")
    client.queue_pause("a")
    assert client.queue_get("a").paused_at is not None
    client.queue_resume("*")
    assert client.queue_update("a", metadata={"owner": "x"}).paused_at is None
    assert [queue.name for queue in client.queue_list()] == ["a"]


def test_threads_share_a_client(client: SyncClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda n: client.insert(Mail(n)).job.id, range(40)))
    jobs = {job.id: job.args["n"] for job in client.job_list().jobs}
    assert [jobs[job_id] for job_id in ids] == list(range(40))


async def test_a_running_loop_is_not_blocked_but_its_other_threads_may_call(dsn: str, schema: Any) -> None:
    client = SyncClient(dsn, schema=schema)
    calls: list[Callable[[], object]] = [lambda: client.enqueue(Mail()), client.close]
    for call in calls:
        with pytest.raises(BlockingCallError, match="use Client there"):
            call()
    assert (await asyncio.to_thread(client.enqueue, Mail())).id == 1
    await asyncio.to_thread(client.close)


def test_a_call_that_takes_too_long_ends_and_leaves_the_client_usable(dsn: str, sync_schema: str) -> None:
    locked, release = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await connect(dsn, application_name="holder")
        async with connection.transaction():
            await connection.execute(f'LOCK TABLE "{sync_schema}".river_job')
            locked.set()
            await asyncio.to_thread(release.wait)
        await connection.close()

    with SyncClient(dsn, schema=sync_schema, timeout=timedelta(seconds=3)) as client, ThreadPoolExecutor(1) as threads:
        client.queue_list()
        holder = threads.submit(asyncio.run, hold())
        assert locked.wait(30)
        try:
            with pytest.raises(TimeoutError, match="no answer within 3 s"):
                client.enqueue(Mail())
        finally:
            release.set()
            holder.result()
        assert client.job_list().jobs == []
        assert client.enqueue(Mail()).kind == "mail"


def test_closing_ends_the_thread(dsn: str, sync_schema: str) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "rivermill-sync"]

    client = SyncClient(dsn, schema=sync_schema)
    assert threads() == []
    client.enqueue(Mail())
    assert len(threads()) == 1
    client.close()
    client.close()
    assert threads() == []
    with pytest.raises(NotStartedError, match="closed"):
        client.enqueue(Mail())
    SyncClient(dsn, schema=sync_schema).close()


_FORKS = """
import os, sys
from rivermill import NotStartedError, SyncClient

client = SyncClient(sys.argv[1], schema=sys.argv[2])
client.job_list()
if child := os.fork():
    status = os.waitpid(child, 0)[1]
    client.job_list()
    client.close()
    sys.exit(os.waitstatus_to_exitcode(status))
try:
    client.job_list()
except NotStartedError as error:
    client.close()
    os._exit(0 if "forked" in str(error) else 2)
os._exit(1)
"""


def test_a_client_that_was_called_before_a_fork_says_so_in_the_child(dsn: str, sync_schema: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKS, dsn, sync_schema]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_wrong_settings_are_refused(dsn: str) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        SyncClient(dsn, timeout=timedelta(0))


def test_a_connection_that_was_cut_is_told_and_made_anew(dsn: str, client: SyncClient) -> None:
    client.insert(Mail(1))
    name = f"rivermill {client._client.settings.client_id}"[:63]
    cut = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{name}'"
    for _ in range(5):
        execute(dsn, cut)
        with suppress(DatabaseUnavailableError):  # or it was noticed already
            client.insert(Mail(2))
        client.insert(Mail(3))


def test_a_schema_without_tables_is_told_with_the_way_out(dsn: str) -> None:
    with SyncClient(dsn, schema="nobody_migrated") as client:
        for call in (lambda: client.insert(Mail(1)), client.job_list, lambda: client.insert_many_fast([Mail(1)])):
            with pytest.raises(MigrationError, match=r"nobody_migrated.river_job.* does not exist: run `rivermill migrate up`"):
                call()


@pytest.mark.parametrize("wrong", ["19", None, True])
def test_an_id_is_a_number(client: SyncClient, wrong: Any) -> None:
    job = client.insert(Mail(1)).job
    for call in (
        client.job_get,
        client.cancel,
        client.job_retry,
        client.job_delete,
        lambda value: client.job_update(value, output=1),
    ):
        for value in (wrong, job):
            with pytest.raises(ValidationError, match=r"of type .*: use a job's id"):
                call(value)
