"""Calls of a client that works jobs: what they wait for holds up neither outcomes nor elections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import Client, Hook, InsertOpts, Job, JobState, Middleware, Unique, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, eventually, working


@dataclass
class Audit:
    kind: ClassVar[str] = "audit"
    of: str = ""


class Audits(Hook):
    """Inserts with its client, within its client's insert."""

    client: Client | None = None

    async def insert_begin(self, params: Any) -> None:
        if self.client is not None and isinstance(params.args, Note):
            await self.client.insert(Audit(params.args.text), InsertOpts(pending=True))


class Waits(Middleware):
    """Lets no insert through before it is told to."""

    def __init__(self) -> None:
        self.entered, self.opened = asyncio.Event(), asyncio.Event()

    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        self.entered.set()
        await self.opened.wait()
        return await inner()


async def state(bench: Bench, job_id: int) -> str:
    """Asked for on a connection of the test's, whoever holds the client's."""
    sql = f"SELECT state::text FROM {bench.schema.table('river_job')} WHERE id = $1"
    return str(await bench.connection.fetchval(sql, job_id))


async def completed(bench: Bench, job_id: int) -> None:
    async def check() -> bool:
        return await state(bench, job_id) == JobState.COMPLETED

    await eventually(check)


async def added(bench: Bench) -> int:
    """Insert a job on a connection of the test's."""
    sql = f"INSERT INTO {bench.schema.table('river_job')} (kind, args) VALUES ('note', '{{}}') RETURNING id"
    job_id: int = await bench.connection.fetchval(sql)
    return job_id


async def test_a_hook_may_use_the_client_whose_insert_it_runs_around(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    hook = Audits()
    async with working(dsn, connection, schema, workers, hooks=[hook], skip_unknown_job_check=True) as bench:
        hook.client = bench.client
        async with asyncio.timeout(20):
            one = await bench.client.insert(Note("one"))
            await bench.client.insert_many_fast([Note("fast")])
            await bench.client.insert(Note("within"), tx=connection)
        await completed(bench, one.job.id)
        of = f"SELECT args ->> 'of' AS of FROM {schema.table('river_job')} WHERE kind = 'audit' ORDER BY id"
        assert [row["of"] for row in await connection.fetch(of)] == ["one", "fast", "within"]


async def test_a_middleware_that_waits_holds_up_no_outcome(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    middleware = Waits()
    async with working(dsn, connection, schema, workers, middleware=[middleware]) as bench:
        inserts = [asyncio.create_task(bench.client.enqueue(Note("waits")))]
        inserts.append(asyncio.create_task(bench.client.insert_many_fast([Note("waits")])))
        try:
            await asyncio.wait_for(middleware.entered.wait(), 20)
            await completed(bench, await added(bench))
        finally:
            middleware.opened.set()
            await asyncio.gather(*inserts)


async def waits(bench: Bench) -> None:
    """Return once a call of the client has waited for a lock for long."""
    name = f"rivermill {bench.client.settings.client_id}"[:63]
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock' "
        "AND clock_timestamp() - query_start > interval '0.5 seconds'"
    )

    async def check() -> bool:
        return bool(await bench.connection.fetchval(sql, name))

    await eventually(check)


async def test_inserts_that_wait_for_a_duplicate_hold_up_no_outcome(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, other: Connection
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    unique = Unique(by_args=True)
    async with working(dsn, connection, schema, workers) as bench, asyncio.timeout(60):
        transaction = other.transaction()
        await transaction.start()
        first = await bench.client.insert(Note("one"), unique=unique, tx=other)
        inserts = [asyncio.create_task(bench.client.insert(Note("one"), unique=unique)) for _ in range(5)]
        try:
            await waits(bench)
            await completed(bench, await added(bench))
            await bench.client.enqueue(Note("two"))
            assert not any(insert.done() for insert in inserts)
        finally:
            await transaction.commit()
            results = await asyncio.gather(*inserts, return_exceptions=True)
        assert [getattr(result, "job", result).id for result in results] == [first.job.id] * 5
        await completed(bench, first.job.id)


@pytest.mark.parametrize("call", ["cancel", "job_retry", "job_delete", "job_update"])
async def test_a_change_that_waits_for_its_row_holds_up_no_outcome(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, other: Connection, *, call: str
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    async with working(dsn, connection, schema, workers) as bench, asyncio.timeout(60):
        later = datetime.now(UTC) + timedelta(days=1)
        job = await bench.client.enqueue_scheduled(Note(), later)
        transaction = other.transaction()
        await transaction.start()
        await other.execute(f"SELECT 1 FROM {schema.table('river_job')} WHERE id = $1 FOR UPDATE", job.id)
        output = {"output": 1} if call == "job_update" else {}
        changing = asyncio.create_task(getattr(bench.client, call)(job.id, **output))
        try:
            await waits(bench)
            await completed(bench, await added(bench))
            assert not changing.done()
        finally:
            await transaction.rollback()
            row = await changing
        assert row.id == job.id


async def test_the_same_behind_a_transaction_pooler(
    pooler: str, dsn: str, connection: Connection, schema: Schema, workers: Workers, other: Connection
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None: ...

    unique, through = Unique(by_args=True), {"transaction_pooler": True, "listener_dsn": dsn}
    async with working(pooler, connection, schema, workers, **through) as bench, asyncio.timeout(60):
        transaction = other.transaction()
        await transaction.start()
        first = await bench.client.insert(Note("one"), unique=unique, tx=other)
        inserting = asyncio.create_task(bench.client.insert(Note("one"), unique=unique))
        try:
            await asyncio.sleep(1.0)
            await completed(bench, await added(bench))
            assert not inserting.done()
        finally:
            await transaction.commit()
            result = await inserting
        assert (result.job.id, result.unique_skipped_as_duplicate) == (first.job.id, True)
