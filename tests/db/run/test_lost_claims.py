"""A claim that was committed and whose answer was lost is given back, or left to be rescued soon, whatever comes then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rivermill import Job, JobState, Workers
from rivermill.db import Connection
from rivermill.fetcher import Fetcher
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, working


@pytest.fixture
def workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None: ...

    return workers


async def lose_an_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, cordon: bool) -> int:
    """Insert a job and lose the answer to its claim, as where a server fails over; its id."""
    fetch, lost, runtime = Fetcher.fetch, asyncio.Event(), bench.client._runtime
    assert runtime is not None

    async def losing(self: Fetcher, *args: Any) -> dict[str, list[Any]]:
        found = await fetch(self, *args)
        if found and not lost.is_set():
            lost.set()
            # At once, since the connection is made anew soon.
            runtime._producer._gate.cordoned = cordon
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
        job_id = await lose_an_answer(bench, monkeypatch, cordon=True)
        row = await bench.reaches(job_id, JobState.AVAILABLE)
    assert row.attempt == 0


async def test_it_is_rescued_soon_when_the_client_stops(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(dsn, connection, schema, workers) as bench:
        job_id = await lose_an_answer(bench, monkeypatch, cordon=False)
        await bench.client.stop()
    async with working(dsn, connection, schema, workers) as bench:
        await bench.reaches(job_id, JobState.COMPLETED)
