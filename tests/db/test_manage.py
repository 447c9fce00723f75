"""Listing, deleting and updating jobs and queues on a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from rivermill import (
    Client,
    InsertOpts,
    InsertParams,
    JobFilter,
    JobListCursor,
    JobListOrder,
    JobListParams,
    JobState,
    NotFoundError,
    ValidationError,
)
from rivermill.db import Connection
from rivermill.schema import Schema


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"


@pytest.fixture
async def mixed(client: Client, connection: Connection, schema: Schema) -> list[int]:
    """Seven jobs: two of equal end, one of another, two that run (one without a start), two that wait."""
    results = await client.insert_many([InsertParams(Mail(), InsertOpts(tags=[f"tag{i % 2}"])) for i in range(7)])
    ids = [result.job.id for result in results]
    end = datetime(2026, 1, 1, tzinfo=UTC)
    table = schema.table("river_job")
    for job_id, at in zip(ids[:3], (end, end, end - timedelta(days=1)), strict=True):
        await connection.execute(f"UPDATE {table} SET state = 'completed', finalized_at = $2 WHERE id = $1", job_id, at)
    await connection.execute(f"UPDATE {table} SET state = 'running', attempted_at = $2 WHERE id = $1", ids[3], end)
    await connection.execute(f"UPDATE {table} SET state = 'running' WHERE id = $1", ids[4])
    return ids


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("order", "states", "expected"),
    [
        (JobListOrder.ID, [], [0, 1, 2, 3, 4, 5, 6]),
        (JobListOrder.FINALIZED_AT, [], [2, 0, 1]),
        (JobListOrder.TIME, [JobState.RUNNING], [3, 4]),
        (JobListOrder.TIME, [JobState.COMPLETED, JobState.AVAILABLE], [2, 0, 1, 5, 6]),
        (JobListOrder.SCHEDULED_AT, [], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
async def test_pages_join_to_the_whole_list(
    client: Client, mixed: list[int], order: JobListOrder, states: list[JobState], expected: list[int], descending: bool
) -> None:
    params = JobListParams(order_by=order, states=states, descending=descending, limit=1)
    seen: list[int] = []
    while (page := await client.job_list(params)).jobs:
        seen += [job.id for job in page.jobs]
        params = replace(params, after=page.last_cursor if len(seen) % 2 else page.jobs[-1])
    assert seen == [mixed[i] for i in (reversed(expected) if descending else expected)]


async def test_tags_and_metadata_filter(client: Client, mixed: list[int]) -> None:
    page = await client.job_list(JobListParams(tags_all=["tag1"]))
    assert [job.id for job in page.jobs] == mixed[1::2]
    assert len((await client.job_list(JobListParams(tags_any=["tag0", "none"]))).jobs) == 4
    await client.job_update(mixed[0], output={"n": 1.0, "text": "<"})
    page = await client.job_list(JobListParams(metadata={"output": {"n": 1}}))
    assert [(job.id, job.metadata) for job in page.jobs] == [(mixed[0], {"output": {"n": 1, "text": "<"}})]


async def test_an_output_is_stored_as_one_that_a_job_records(client: Client, mixed: list[int]) -> None:
    assert (await client.job_update(mixed[0], output=b"x")).metadata == {"output": "eA=="}
    for wrong, said in (({"file": "\udcff"}, "surrogates not allowed"), (object(), "has no JSON form"), ("\0", "NUL")):
        with pytest.raises(ValidationError, match=f"^output.*{said}"):
            await client.job_update(mixed[0], output=wrong)


async def test_a_condition_of_ones_own(client: Client, mixed: list[int]) -> None:
    where, given = "id = ANY(@ids) AND (tags[1] = @tag OR kind = 'it''s @tag')  -- @> is an operator", {"tag": "tag1"}
    params = JobListParams(where=where, where_args=given | {"ids": mixed[:4]}, states=list(JobState), limit=1)
    page = await client.job_list(params)
    assert [job.id for job in page.jobs] == [mixed[1]]
    assert [job.id for job in (await client.job_list(replace(params, after=page.last_cursor))).jobs] == [mixed[3]]


async def test_deleting_many(client: Client, connection: Connection, schema: Schema, mixed: list[int]) -> None:
    for_lists = JobListParams(ids=mixed, tags_all=["tag1"])  # whose tags would not be looked at
    one = JobFilter(ids=[1])
    wrongs = ({}, {"filters": one, "everything": True}, {"everything": True, "limit": 0}, {"filters": for_lists})
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            await client.job_delete_many(**wrong)  # type: ignore[arg-type]
    async with connection.transaction():
        await connection.execute(f"SELECT 1 FROM {schema.table('river_job')} WHERE id = $1 FOR UPDATE", mixed[0])
        deleted = await client.job_delete_many(JobFilter(states=[JobState.COMPLETED]), limit=1)
    assert [job.id for job in deleted] == [mixed[1]]
    assert len(await client.job_delete_many(everything=True)) == 4
    assert [job.id for job in (await client.job_list()).jobs] == mixed[3:5]


async def test_deleting_by_a_condition_of_ones_own(client: Client, mixed: list[int]) -> None:
    """An OR in it reaches neither beyond other filters nor to jobs that run."""
    chosen = JobFilter(where="tags[1] = @tag OR true  -- all", where_args={"tag": "tag1"}, ids=mixed[2:5])
    assert [job.id for job in await client.job_delete_many(chosen)] == [mixed[2]]
    assert await client.job_delete_many(JobFilter(where="false")) == []
    with pytest.raises(ValidationError, match="@n"):
        JobFilter(where="id = @n")


async def test_a_retry_forgets_the_cancellation(client: Client, mixed: list[int]) -> None:
    assert "cancel_attempted_at" in ((await client.cancel(mixed[5])).metadata or {})
    assert (await client.job_retry(mixed[5])).metadata == {}


async def test_changes_roll_back_with_the_callers_transaction(
    client: Client, connection: Connection, mixed: list[int], schema: Schema
) -> None:
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('default')")
    transaction = connection.transaction()
    await transaction.start()
    await client.cancel(mixed[5], tx=connection)
    await client.job_retry(mixed[0], tx=connection)
    await client.job_delete(mixed[1], tx=connection)
    await client.job_update(mixed[2], output=1, tx=connection)
    await client.queue_pause("default", tx=connection)
    assert (await client.job_get(mixed[5], tx=connection)).state is JobState.CANCELLED
    await transaction.rollback()
    states = [job.state for job in (await client.job_list()).jobs]
    assert states[:3] == [JobState.COMPLETED] * 3
    assert states[5] is JobState.AVAILABLE
    assert (await client.queue_get("default")).paused_at is None


async def test_queues(client: Client, connection: Connection, dsn: str, schema: Schema) -> None:
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('a'), ('b'), ('c')")
    assert [queue.name for queue in await client.queue_list(limit=1, after="a")] == ["b"]
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(dsn)
    await listener.add_listener(schema.channel("river_control"), lambda *args: heard.put_nowait(args[-1]))
    assert (await client.queue_update("b", metadata={"owner": "x"})).metadata == {"owner": "x"}
    message = json.loads(await asyncio.wait_for(heard.get(), 10))
    assert message == {"action": "metadata_changed", "metadata": {"owner": "x"}, "queue": "b"}
    with pytest.raises(NotFoundError):
        await client.queue_update("d", metadata={})
    with pytest.raises(ValidationError, match="limit"):
        await client.queue_list(limit=0)
    with pytest.raises(ValidationError, match="limit '10': use 1 to 10000"):
        await client.queue_list(limit="10")  # type: ignore[arg-type]
    await listener.close()


@pytest.mark.parametrize("library", ["asyncpg", "psycopg", "SQLAlchemy"])
async def test_jobs_of_infinite_times_are_read(
    client: Client, connection: Connection, dsn: str, schema: Schema, mixed: list[int], library: str
) -> None:
    """As other programs may write them."""
    table = schema.table("river_job")
    await connection.execute(f"UPDATE {table} SET scheduled_at = 'infinity' WHERE id = $1", mixed[0])
    await connection.execute(
        f"UPDATE {table} SET scheduled_at = '-infinity', finalized_at = 'infinity' WHERE id = $1", mixed[1]
    )
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    params = JobListParams(order_by=JobListOrder.SCHEDULED_AT, limit=4)
    async with transaction_of(library, dsn) as tx:
        jobs = (page := await client.job_list(params, tx=tx)).jobs
        jobs += (await client.job_list(replace(params, after=page.last_cursor), tx=tx)).jobs
        cursor = JobListCursor.decode(params.cursor(jobs[-1]).encode())
        assert (await client.job_list(replace(params, after=cursor), tx=tx)).jobs == []
    assert [job.id for job in jobs] == [mixed[1], *mixed[2:], mixed[0]]
    assert (jobs[0].scheduled_at, jobs[0].finalized_at, jobs[-1].scheduled_at) == (first, last, last)


@asynccontextmanager
async def transaction_of(library: str, dsn: str) -> AsyncIterator[Any]:
    if library == "psycopg":
        async with await psycopg.AsyncConnection.connect(dsn) as tx:
            yield tx
    elif library == "SQLAlchemy":
        engine = create_async_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
        async with engine.connect() as tx:
            yield tx
        await engine.dispose()
    else:
        yield None


@pytest.mark.parametrize("job_id", [2**70, 2**63, -(2**63) - 1, 2**63 - 1, 0])
async def test_a_job_of_an_id_that_there_is_not_is_not_found(client: Client, job_id: int) -> None:
    for call in (client.job_get, client.cancel, client.job_retry, client.job_delete):
        with pytest.raises(NotFoundError, match=f"job {job_id}: there is no such job"):
            await call(job_id)
