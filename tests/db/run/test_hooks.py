"""What hooks change is what is stored and what workers are given, wherever these run."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rivermill import (
    Hook,
    InsertOpts,
    InsertParams,
    Job,
    JobState,
    Middleware,
    Never,
    PeriodicJob,
    Unique,
    Worker,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, working

LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Seal(Hook):
    """Stores args that nobody reads who has no such hook."""

    async def insert_begin(self, params: InsertParams) -> InsertParams:
        return replace(params, encoded_args={"sealed": b64encode(params.encode().encode()).decode()})

    async def work_begin(self, job: Job[Any]) -> None:
        job.encoded_args = b64decode(json.loads(job.encoded_args)["sealed"]).decode()


class Unseal(Middleware):
    """The same, as a middleware does it."""

    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        await Seal().work_begin(job)
        await inner()


class Trace(Hook):
    async def insert_begin(self, params: InsertParams) -> InsertParams:
        return params.with_metadata({"trace": "t1"})


async def on_loop(job: Job[Note]) -> None:
    tell(job)


def tell(job: Job[Note]) -> None:
    job.record_output([job.args.text, job.row.args, (job.row.metadata or {})["trace"]])


class SealOnly(Hook):
    async def insert_begin(self, params: InsertParams) -> InsertParams:
        return await Seal().insert_begin(params)


@pytest.mark.parametrize(("function", "executor"), [(on_loop, "async"), (tell, "thread"), (tell, "process")])
@pytest.mark.parametrize(
    "extensions",
    [{"hooks": [Seal(), Trace()]}, {"hooks": [Trace(), SealOnly()], "middleware": [Unseal()]}],
    ids=["hook", "middleware"],
)
async def test_args_may_be_stored_in_another_form(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, function: Any, executor: Any, extensions: Any
) -> None:
    workers.work(executor=executor)(function)
    once, unique = InsertOpts(unique=Unique(by_args=True), metadata={"own": 1}), InsertOpts(unique=Unique(by_args=True))
    # Unique, since another term would begin with another.
    periodic = [PeriodicJob(Never(), lambda: InsertParams(Note("periodic"), unique), run_on_start=True)]
    one_process = {"queues": {"default": 1}, "periodic_jobs": periodic}
    async with working(dsn, connection, schema, workers, **one_process, **extensions) as bench:
        first, again = [await bench.client.insert(Note("secret"), once) for _ in range(2)]
        assert (again.job.id, again.unique_skipped_as_duplicate) == (first.job.id, True)
        await bench.client.insert_many_fast([Note("copied")])
        await bench.completes(3)
        rows = (await bench.client.job_list()).jobs
    outputs = {text: (args, trace) for text, args, trace in ((row.metadata or {})["output"] for row in rows)}
    assert outputs.keys() == {"secret", "copied", "periodic"}
    assert {tuple(args) for args, _ in outputs.values()} == {("sealed",)}
    assert [row.args for row in rows if (row.metadata or {}).get("own") == 1] == [outputs["secret"][0]]


class Fails(Worker[Note]):
    async def work(self, job: Job[Note]) -> None:
        raise ValueError("no")

    def next_retry(self, job: Job[Note]) -> datetime:
        assert job.args.text == "secret"
        return LATER


async def test_the_next_retry_is_asked_with_the_args_of_the_attempt(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    workers.add(Fails())
    async with working(dsn, connection, schema, workers, hooks=[Seal()]) as bench:
        job = await bench.client.enqueue(Note("secret"))
        assert (await bench.reaches(job.id, JobState.RETRYABLE)).scheduled_at == LATER


class Garbles(Hook):
    async def work_begin(self, job: Job[Any]) -> None:
        job.encoded_args = 5  # type: ignore[assignment]


async def test_what_is_no_text_fails_the_attempt(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    workers.work(on_loop)
    async with working(dsn, connection, schema, workers, hooks=[Garbles()]) as bench:
        job = (await bench.client.insert(Note(), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
    assert row.errors[0].error == "encoded_args of type int: set the text of a JSON object"
