"""A claim that was committed and whose answer was lost is given back, or left to be rescued soon, whatever comes then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rivermill import Client, Job, JobState, Workers
from rivermill.claims import return_lost_sql
from rivermill.db import Connection
from rivermill.fetcher import Fetcher
from rivermill.producer import Producer
from rivermill.schema import Schema
from tests.db.run.support import ME, Bench, Note, claim, eventually, working


@pytest.fixture
def workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None: ...

    return workers


def producer(bench: Bench) -> Producer:
    assert bench.client._runtime is not None
    return bench.client._runtime._producer


async def lose_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch, at_once: Callable[[], object] = lambda: None) -> int:
    """Insert a job and lose the answer to its claim, as where a server fails over; its id.

    ``at_once`` is called before the connection is made anew.
    """
    fetch, lost = Fetcher.fetch, asyncio.Event()

    async def losing(self: Fetcher, *args: Any) -> dict[str, list[Any]]:
        found = await fetch(self, *args)
        if found and not lost.is_set():
            lost.set()
            at_once()
            raise ConnectionResetError("the answer is lost")
        return found

    monkeypatch.setattr(Fetcher, "fetch", losing)
    job = await bench.client.enqueue(Note())
    await asyncio.wait_for(lost.wait(), 20)
    return job.id


async def test_it_is_given_back_although_the_client_claims_no_more(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(dsn, connection, schema, workers) as bench:
        gate = producer(bench)._gate
        job_id = await lose_an_answer(bench, monkeypatch, lambda: setattr(gate, "cordoned", True))
        row = await bench.reaches(job_id, JobState.AVAILABLE)
    assert row.attempt == 0


async def test_it_is_given_back_although_the_queue_was_paused(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(dsn, connection, schema, workers) as bench:
        pause = producer(bench).set_paused
        job_id = await lose_an_answer(bench, monkeypatch, lambda: pause("*", paused=True))
        row = await bench.reaches(job_id, JobState.AVAILABLE)
    assert row.attempt == 0


async def test_one_that_the_server_made_late_is_given_back_although_no_claim_is_due(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server is still at it, the look at once finds nothing: here the job is claimed only after that."""
    monkeypatch.setattr("rivermill.producer.STATEMENT_TIMEOUT", timedelta(0))  # so 5 s later
    look, looks = Fetcher.return_lost, asyncio.Semaphore(0)

    async def looking(self: Fetcher, *args: Any) -> int:
        count = await look(self, *args)
        looks.release()
        return count

    monkeypatch.setattr(Fetcher, "return_lost", looking)
    async with working(dsn, connection, schema, workers, poll_interval=timedelta(hours=1)) as bench:
        await lose_an_answer(bench, monkeypatch)
        async with asyncio.timeout(20):
            await looks.acquire()
        late = await connection.fetchval(
            f"INSERT INTO {schema.table('river_job')} (kind, args, state, attempt, attempted_at, attempted_by) "
            "VALUES ('note', '{}', 'running', 1, now(), ARRAY[$1]) RETURNING id",
            bench.client.settings.client_id,
        )
        row = await bench.reaches(late, JobState.COMPLETED)
    assert row.attempt == 1


async def test_one_that_was_cancelled_meanwhile_does_not_run(connection: Connection, client: Client, schema: Schema) -> None:
    asked, plain = await claim(connection, schema, "asked", "plain")
    assert (await client.cancel(asked["id"])).state == JobState.RUNNING
    assert await connection.execute(return_lost_sql(schema), ME, []) == "UPDATE 2"
    row = await client.job_get(asked["id"])
    assert (row.state, row.attempt, row.finalized_at is not None) == (JobState.CANCELLED, 1, True)
    row = await client.job_get(plain["id"])
    assert (row.state, row.attempt, row.finalized_at) == (JobState.AVAILABLE, 0, None)


async def test_a_job_whose_outcome_was_refused_is_not_lost(
    dsn: str, connection: Connection, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row says that it runs, as that of a claim does whose answer was lost; run again, it would be refused again."""
    runs: list[str] = []
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None:
        runs.append(job.args.text)

    refusal = "CHECK (state <> 'completed' OR args ->> 'text' IS DISTINCT FROM 'refused')"
    await connection.execute(f"ALTER TABLE {schema.table('river_job')} ADD CONSTRAINT mine {refusal}")
    async with working(dsn, connection, schema, workers) as bench:
        refused = await bench.client.enqueue(Note("refused"))
        runtime = bench.client._runtime
        assert runtime is not None

        async def given_up() -> bool:
            return bool(runtime.metrics.registry.get_sample_value("rivermill_completions_refused_total"))

        await eventually(given_up)
        lost = await lose_an_answer(bench, monkeypatch)
        await bench.reaches(lost, JobState.COMPLETED)
        row = await bench.job(refused.id)
    assert (row.state, row.attempt, runs.count("refused")) == (JobState.RUNNING, 1, 1)


async def test_it_is_rescued_soon_when_the_client_stops(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(dsn, connection, schema, workers) as bench:
        job_id = await lose_an_answer(bench, monkeypatch)
        await bench.client.stop()
    async with working(dsn, connection, schema, workers) as bench:
        await bench.reaches(job_id, JobState.COMPLETED)
