"""Whoever blocks the event loop is named."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from rivermill import Job, JobState, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, working


class Told(logging.Handler):
    """Keeps what is said of a blocked loop."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "the event loop is blocked" in record.getMessage():
            self.text = record.getMessage()
            self.told.set()


@pytest.fixture
def told() -> Iterator[Told]:
    handler, logger = Told(), logging.getLogger("rivermill")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_a_job_that_blocks_the_loop_is_named(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, told: Told
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        if job.args.text == "blocks":
            assert told.told.wait(30)

    async with working(dsn, connection, schema, workers) as bench:
        blocks = await bench.client.enqueue(Note("blocks"))
        await bench.client.enqueue(Note("does not"))
        await bench.reaches(blocks.id, JobState.COMPLETED)
    assert f"by job {blocks.id} of kind note, which" in told.text
    assert "in work\n    assert told.told.wait(30)" in told.text


async def test_no_job_is_named_or_cleared_where_a_task_blocks_that_a_job_has_made(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, told: Told
) -> None:
    async def block() -> None:
        assert told.told.wait(30)

    @workers.work
    async def work(_: Job[Note]) -> None:
        await asyncio.create_task(block())

    async with working(dsn, connection, schema, workers) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.COMPLETED)
    assert told.text.startswith("the event loop is blocked, not within the own task of any job:\n")
    assert "in block\n    assert told.told.wait(30)" in told.text
