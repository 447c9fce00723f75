"""A job that others rescued while its client ran it, and that this client has claimed once more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from rivermill import Job, Workers
from rivermill.claimed import Policy
from rivermill.claims import claim_sql
from rivermill.client_queues import ClientQueues
from rivermill.completer import Completer
from rivermill.config import QueueConfig
from rivermill.db import Connection, SharedConnection
from rivermill.events import Subscribers
from rivermill.executor import Executor
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.schema import Schema
from tests.db.run.support import ME, Note, claim, eventually


async def rescue_and_claim(connection: Connection, schema: Schema, job_id: int) -> list[Any]:
    """Rescue a job, and claim it for the same client; the row as claimed."""
    await connection.execute(
        f"UPDATE {schema.table('river_job')} SET state = 'available', "
        "metadata = metadata || '{\"river:rescue_count\": 1}' WHERE id = $1",
        job_id,
    )
    records = await connection.fetch(claim_sql(schema), "default", 1, ME)
    assert [record["id"] for record in records] == [job_id]
    return list(records)


@dataclass
class Bench:
    """What runs jobs in a client, and looks at the only one."""

    connection: Connection
    schema: Schema
    shared: SharedConnection
    workers: Workers
    executor: Executor = field(init=False)
    writing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.completer = Completer(self.shared, self.schema, ME, Metrics(), JobEvents(self.schema, Subscribers()), lambda: None)

    def begin(self, slots: int = 2) -> None:
        queues = ClientQueues({"default": QueueConfig(slots)}, None, works=True)
        self.executor = Executor(self.workers, self.completer, Metrics(), Policy(), queues=queues, on_free=lambda: None)

    def write(self) -> None:
        """Write outcomes from now on."""
        self.writing = asyncio.create_task(self.completer.run(), name="rivermill completer")

    async def written(self) -> None:
        async def check() -> bool:
            return not self.completer.backlog

        await eventually(check)

    async def claim(self) -> int:
        """Insert a job and claim it; its id."""
        records = await claim(self.connection, self.schema, "one")
        self.executor.submit("default", records)
        job_id: int = records[0]["id"]
        return job_id

    async def rescued(self, job_id: int) -> list[Any]:
        """Rescue a job and claim it again; the row as claimed."""
        return await rescue_and_claim(self.connection, self.schema, job_id)

    async def claim_again(self, job_id: int) -> None:
        self.executor.submit("default", await self.rescued(job_id))

    async def state(self, job_id: int) -> tuple[Any, ...]:
        sql = (
            f"SELECT state::text, attempt, coalesce(cardinality(errors), 0) FROM {self.schema.table('river_job')} WHERE id = $1"
        )
        return tuple(await self.connection.fetchrow(sql, job_id))

    async def finish(self) -> None:
        await asyncio.wait_for(self.executor.idle(), 20)
        self.completer.close()
        assert self.writing is not None
        await asyncio.wait_for(self.writing, 20)


@pytest.fixture
async def bench(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> AsyncIterator[Bench]:
    shared = SharedConnection(dsn, "rivermill test")
    bench = Bench(connection, schema, shared, workers)
    yield bench
    if bench.writing is not None:
        bench.writing.cancel()
        await asyncio.wait([bench.writing])
    await shared.close()


class Attempts:
    """The attempts that have begun, and how each has ended; they wait for what lets them end."""

    def __init__(self) -> None:
        self.begun: dict[int, threading.Event] = {number: threading.Event() for number in (1, 2)}
        self.ends: dict[int, asyncio.Event] = {number: asyncio.Event() for number in (1, 2)}
        self.thread_ends: dict[int, threading.Event] = {number: threading.Event() for number in (1, 2)}
        self.seen: list[tuple[int, str]] = []

    async def begins(self, number: int) -> None:
        assert await asyncio.to_thread(self.begun[number].wait, 20)

    async def wait(self, job: Job[Note]) -> None:
        """In a worker on the loop."""
        self.begun[job.attempt].set()
        try:
            await self.ends[job.attempt].wait()
        except asyncio.CancelledError:
            self.seen.append((job.attempt, "cancelled"))
            raise
        self.seen.append((job.attempt, "ended"))

    def block(self, job: Job[Note]) -> None:
        """In a thread, which does not look whether it is to end."""
        self.begun[job.attempt].set()
        assert self.thread_ends[job.attempt].wait(60)
        self.seen.append((job.attempt, f"ended, cancelled={job.cancelled}"))


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


async def begun_twice(bench: Bench, attempts: Attempts) -> int:
    """A job whose two attempts both run here."""
    bench.begin()
    bench.write()
    job_id = await bench.claim()
    await attempts.begins(1)
    await bench.claim_again(job_id)
    await attempts.begins(2)
    return job_id


async def test_the_earlier_attempt_is_ended(bench: Bench, workers: Workers, attempts: Attempts) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        await attempts.wait(job)

    job_id = await begun_twice(bench, attempts)

    async def cancelled() -> bool:
        return attempts.seen == [(1, "cancelled")]

    await eventually(cancelled)
    assert (bench.executor.unfinished, bench.executor.busy) == (1, 1)
    assert await bench.state(job_id) == ("running", 2, 0)
    attempts.ends[2].set()
    await bench.finish()
    assert await bench.executor.close() == []
    assert await bench.state(job_id) == ("completed", 2, 0)


async def test_its_success_counts_for_nothing(bench: Bench, workers: Workers, attempts: Attempts) -> None:
    """It does not look whether it is to end, and keeps its slot until it does."""

    @workers.work(timeout=timedelta(hours=1))
    def work(job: Job[Note]) -> None:
        attempts.block(job)

    job_id = await begun_twice(bench, attempts)
    assert bench.executor.busy == 2
    attempts.thread_ends[1].set()

    async def one_left() -> bool:
        return bench.executor.busy == 1

    await eventually(one_left)
    assert attempts.seen == [(1, "ended, cancelled=True")]
    await bench.written()
    assert await bench.state(job_id) == ("running", 2, 0)
    attempts.thread_ends[2].set()
    await bench.finish()
    assert await bench.executor.close() == []
    assert await bench.state(job_id) == ("completed", 2, 0)


async def test_one_that_goes_on_is_reported_at_the_end(bench: Bench, workers: Workers, attempts: Attempts) -> None:
    @workers.work(timeout=timedelta(hours=1))
    def work(job: Job[Note]) -> None:
        attempts.block(job)

    job_id = await begun_twice(bench, attempts)
    attempts.thread_ends[2].set()
    await bench.finish()
    assert await bench.state(job_id) == ("completed", 2, 0)
    assert await bench.executor.close() == [job_id]
    attempts.thread_ends[1].set()

    async def ended() -> bool:
        return bench.executor.busy == 0

    await eventually(ended)


@pytest.mark.parametrize("waits", [False, True])
async def test_one_that_has_not_begun_never_does(bench: Bench, workers: Workers, attempts: Attempts, *, waits: bool) -> None:
    """It has a slot, or waits for that of another job."""

    @workers.work
    async def work(job: Job[Note]) -> None:
        await attempts.wait(job)

    for number in (1, 2):
        attempts.ends[number].set()
    other, *first = await claim(bench.connection, bench.schema, "other", "one")
    again = await bench.rescued(first[0]["id"])
    bench.begin(slots=1)
    bench.write()
    for records in ([other] if waits else [], first, again):
        if records:
            bench.executor.submit("default", records)
    await bench.finish()
    assert await bench.executor.close() == []
    assert attempts.seen == [*([(1, "ended")] if waits else []), (2, "ended")]
    assert await bench.state(first[0]["id"]) == ("completed", 2, 0)


async def test_a_success_that_is_not_written_counts_for_nothing(bench: Bench, workers: Workers, attempts: Attempts) -> None:
    """As after a network that was away until others had rescued the job."""

    @workers.work
    async def work(job: Job[Note]) -> None:
        await attempts.wait(job)

    bench.begin()
    attempts.ends[1].set()
    job_id = await bench.claim()
    await asyncio.wait_for(bench.executor.idle(), 20)
    assert bench.completer.backlog == 1
    await bench.claim_again(job_id)
    await attempts.begins(2)
    bench.write()
    await bench.written()
    assert await bench.state(job_id) == ("running", 2, 0)
    attempts.ends[2].set()
    await bench.finish()
    assert await bench.executor.close() == []
    assert await bench.state(job_id) == ("completed", 2, 0)


async def test_a_success_that_comes_back_unwritten_counts_for_nothing(
    bench: Bench, workers: Workers, attempts: Attempts, other: Connection
) -> None:
    """It was on its way when the connection was lost."""

    @workers.work
    async def work(job: Job[Note]) -> None:
        await attempts.wait(job)

    table = bench.schema.table("river_job")
    bench.begin()
    job_id = await bench.claim()
    lock = other.transaction()
    await lock.start()
    await other.execute(f"SELECT 1 FROM {table} FOR UPDATE")
    bench.write()
    attempts.ends[1].set()

    async def held_up() -> int | None:
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rivermill test' AND wait_event_type = 'Lock'"
        pid: int | None = await bench.connection.fetchval(sql)
        return pid

    pid = await eventually(held_up)
    bench.executor.submit("default", await rescue_and_claim(other, bench.schema, job_id))
    await attempts.begins(2)
    await bench.connection.execute("SELECT pg_terminate_backend($1)", pid)

    async def cut() -> bool:
        return not await bench.connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)

    await eventually(cut)
    await lock.commit()
    await bench.written()
    assert await bench.state(job_id) == ("running", 2, 0)
    attempts.ends[2].set()
    await bench.finish()
    assert await bench.executor.close() == []
    assert await bench.state(job_id) == ("completed", 2, 0)
