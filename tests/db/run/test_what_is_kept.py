"""Nothing of a job is kept once its attempt has ended, and its outcome is, whatever its worker leaves behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from rivermill import Job, JobState, Workers
from rivermill import completer as completer_module
from rivermill.claimed import Policy
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, claim, rows
from tests.db.run.test_executor import executing

CURRENT: ContextVar[Any] = ContextVar("CURRENT", default=None)


@pytest.mark.parametrize("waits", [True, False], ids=["it waits", "it does not"])
async def test_a_job_that_its_worker_has_left_in_a_context_variable_is_freed(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, waits: bool
) -> None:
    """As programs do for their logs: the task of an attempt keeps its context, and the attempt its task."""
    seen: list[weakref.ref[Any]] = []

    @workers.work
    async def work(job: Job[Note]) -> None:
        seen.append(weakref.ref(job.args))
        CURRENT.set(job)
        if waits:
            await asyncio.sleep(0)

    async with executing(dsn, schema, workers, Policy(), slots=4) as executor:
        executor.submit("default", await claim(connection, schema, *map(str, range(8))))
    gc.collect()
    # The last task is kept until there is another one.
    assert sum(ref() is not None for ref in seen) <= 1
    assert len(seen) == 8


async def test_a_job_is_not_kept_while_a_later_one_takes_its_time(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    seen: list[weakref.ref[Any]] = []
    begun, release = asyncio.Event(), asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        seen.append(weakref.ref(job.args))
        if job.args.text == "slow":
            begun.set()
            await release.wait()

    records = await claim(connection, schema, "quick", "slow")
    # So that its worker runs with all that may be around it.
    records[1] = {**records[1], "metadata": '{"river:rescue_count": 1}'}
    async with executing(dsn, schema, workers, Policy(), slots=2) as executor:
        executor.submit("default", records)
        await begun.wait()
        gc.collect()
        kept = [ref() is not None for ref in seen]
        release.set()
    assert kept == [False, True]


async def test_an_outcome_for_which_there_is_no_room_outlives_the_cancellation_of_its_task(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completer_module, "MAX_BACKLOG", 2)

    @workers.work
    async def work(job: Job[Note]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    records = await claim(connection, schema, *map(str, range(6)))
    async with executing(dsn, schema, workers, Policy(), slots=6) as executor:
        executor.submit("default", records)
    assert [row.state for row in await rows(connection, schema, records)] == [JobState.COMPLETED] * 6
