"""Sequences where every job is worked as it is inserted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from rivermill import Job, JobSnooze, JobState, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill.testing import InlineClient
from tests.db.run.parts import Part, part, states


@pytest.fixture
async def inline(dsn: str, schema: Schema) -> AsyncIterator[InlineClient]:
    """Its worker fails, snoozes, or inserts one more of its sequence, as the args say."""
    workers = Workers()

    @workers.work
    async def work(job: Job[Part]) -> None:
        match job.args.does:
            case "fail":
                raise OSError("no")
            case "snooze":
                raise JobSnooze(timedelta(0))
            case "more":
                await job.client.insert_many([part(job.args.of)])

    client = InlineClient(dsn, schema=schema, workers=workers)
    yield client
    await client.stop()


def worked(client: InlineClient) -> list[str]:
    return [f"{result.job.args['of']}{result.job.id}" for result in client.worked]


async def test_all_are_worked_in_order(inline: InlineClient, connection: Connection, schema: Schema) -> None:
    results = await inline.insert_many([part("a"), part("b"), part("a")])
    assert [result.job.state for result in results] == [JobState.COMPLETED] * 3
    assert worked(inline) == ["a1", "a3", "b2"]
    assert (await inline.insert_many([part("a")]))[0].job.state is JobState.COMPLETED
    assert await states(connection, schema) == ["completed"] * 4


@pytest.mark.parametrize("does", ["fail", "snooze"])
async def test_a_job_that_has_not_ended_keeps_the_others_waiting(inline: InlineClient, does: str) -> None:
    results = await inline.insert_many([part("a", does), part("a"), part("b")])
    assert [result.job.state for result in results] == [JobState.AVAILABLE, JobState.PENDING, JobState.COMPLETED]
    assert (await inline.insert_many([part("a")]))[0].job.state is JobState.PENDING
    assert worked(inline) == ["a1", "b3"]


async def test_what_a_job_inserts_into_its_own_sequence_comes_after_it(inline: InlineClient) -> None:
    await inline.insert_many([part("a", "more"), part("a")])
    assert worked(inline) == ["a1", "a2", "a3"]


async def test_in_a_transaction(inline: InlineClient, connection: Connection, schema: Schema) -> None:
    transaction = connection.transaction()
    await transaction.start()
    results = await inline.insert_many([part("a"), part("a")], tx=connection)
    assert [result.job.state for result in results] == [JobState.COMPLETED] * 2
    await transaction.rollback()
    assert await states(connection, schema) == []
