"""Inserting and managing jobs, by the client and by the command line."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import asyncpg
import pytest

from rivermill import (
    Client,
    InsertOpts,
    InsertParams,
    Job,
    JobListParams,
    JobRunningError,
    JobState,
    NotFoundError,
    UnknownKindError,
    ValidationError,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"
    to: str = ""

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="mails", priority=2)


@dataclass
class Other:
    kind: ClassVar[str] = "other"


async def test_rows_come_back_in_order_with_every_option(client: Client) -> None:
    opts = InsertOpts(priority=3, tags=["abc", "d-e"], metadata={"a": 1}, max_attempts=7)
    first, second = [r.job for r in await client.insert_many([Mail("a"), InsertParams(Mail("b"), opts)])]
    assert (first.args, first.queue, first.priority, first.state) == ({"to": "a"}, "mails", 2, JobState.AVAILABLE)
    assert (second.priority, second.tags, second.metadata, second.max_attempts) == (3, ("abc", "d-e"), {"a": 1}, 7)
    assert first.id < second.id


async def test_a_past_time_is_scheduled_all_the_same(client: Client) -> None:
    job = await client.enqueue_scheduled(Mail(), datetime.now(UTC) - timedelta(hours=1))
    assert job.state is JobState.SCHEDULED
    pending = (await client.insert(Mail(), InsertOpts(pending=True))).job
    assert pending.state is JobState.PENDING


@pytest.mark.parametrize(
    "opts",
    [
        InsertOpts(priority=5),
        InsertOpts(max_attempts=0),
        InsertOpts(queue="No"),
        InsertOpts(tags=["a,b"]),
        InsertOpts(tags=["größe"]),
        InsertOpts(scheduled_at=datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the mistake
        InsertOpts(metadata={"a": object()}),
        InsertOpts(metadata={"a": "\0"}),
    ],
)
async def test_wrong_options_are_refused(client: Client, opts: InsertOpts) -> None:
    with pytest.raises(ValidationError):
        await client.insert(Mail(), opts)


async def test_nothing_to_insert_and_unknown_kinds(client: Client, dsn: str, schema: Schema) -> None:
    with pytest.raises(ValidationError, match="no jobs"):
        await client.insert_many([])
    workers = Workers()

    @workers.work
    async def work(job: Job[Other]) -> None: ...

    with pytest.raises(UnknownKindError, match="mail"):
        await Client(dsn, schema=schema, workers=workers).insert(Mail())
    others_work_it = Client(dsn, schema=schema, workers=workers, skip_unknown_job_check=True)
    assert (await others_work_it.insert(Mail())).job.kind == "mail"
    await others_work_it.stop()


async def test_a_rolled_back_transaction_inserts_and_notifies_nothing(
    client: Client, connection: Connection, dsn: str, schema: Schema
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(dsn)
    await listener.add_listener(schema.channel("river_insert"), lambda *args: heard.append(args[-1]))
    transaction = connection.transaction()
    await transaction.start()
    await client.insert(Mail(), tx=connection)
    await transaction.rollback()
    assert (await client.job_list()).jobs == []
    other = Client(dsn, schema=schema)
    await other.insert_many([Mail(), Mail()])
    await other.stop()
    for _ in range(200):
        if heard:
            break
        await asyncio.sleep(0.02)
    assert [json.loads(text) for text in heard] == [{"queue": "mails"}]
    await listener.close()


async def test_managing_jobs(client: Client, connection: Connection, schema: Schema) -> None:
    job = await client.enqueue(Mail())
    cancelled = await client.cancel(job.id)
    assert (cancelled.state, cancelled.finalized_at is not None) == (JobState.CANCELLED, True)
    again = await client.cancel(job.id)
    assert again.finalized_at == cancelled.finalized_at
    retried = await client.job_retry(job.id)
    assert (retried.state, retried.finalized_at) == (JobState.AVAILABLE, None)
    await connection.execute(f"UPDATE {schema.table('river_job')} SET state = 'running' WHERE id = $1", job.id)
    assert (await client.cancel(job.id)).state is JobState.RUNNING
    with pytest.raises(JobRunningError):
        await client.job_delete(job.id)
    assert (await client.job_retry(job.id)).state is JobState.RUNNING
    await connection.execute(f"UPDATE {schema.table('river_job')} SET state = 'available' WHERE id = $1", job.id)
    assert (await client.job_delete(job.id)).id == job.id
    for call in (client.job_get, client.cancel, client.job_retry, client.job_delete):
        with pytest.raises(NotFoundError):
            await call(job.id)
    with pytest.raises(NotFoundError):
        await client.queue_pause("nothing")


async def test_filters(client: Client) -> None:
    jobs = [r.job for r in await client.insert_many([InsertParams(Mail(), InsertOpts(priority=p)) for p in (1, 2, 3)])]
    assert [j.id for j in (await client.job_list(JobListParams(priorities=[1, 3]))).jobs] == [jobs[0].id, jobs[2].id]
    assert [j.id for j in (await client.job_list(JobListParams(descending=True, limit=1))).jobs] == [jobs[2].id]
    none = JobListParams(states=[JobState.RUNNING], kinds=["mail"], queues=["mails"])
    assert (await client.job_list(none)).jobs == []
    with pytest.raises(ValidationError, match="limit"):
        JobListParams(limit=0)
