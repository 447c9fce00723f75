"""What attempts log is stored with their jobs, each attempt's on its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from rivermill import InsertOpts, Job, JobLog, JobState, Worker, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import working

_BARE = logging.Formatter("%(levelname)s %(message)s")
app = logging.getLogger("tests.joblog")


@dataclass
class Logged:
    kind: ClassVar[str] = "logged"
    name: str = ""


@pytest.fixture(autouse=True)
def talkative() -> Iterator[None]:
    """As an application would set it, and without the handlers of a test's clients afterwards."""
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    app.setLevel(logging.INFO)
    yield
    app.setLevel(logging.NOTSET)
    root.handlers[:] = [handler for handler in root.handlers if handler in before]


class OnLoop(Worker[Logged]):
    async def work(self, job: Job[Logged]) -> None:
        app.info("begins %s", job.args.name)
        app.debug("is not kept")
        await asyncio.gather(*(self._part(job, n) for n in range(2)))

    async def _part(self, job: Job[Logged], number: int) -> None:
        await asyncio.sleep(0.01)
        app.warning("part %d of %s", number, job.args.name)


class InThread(Worker[Logged]):
    def work(self, job: Job[Logged]) -> None:
        app.info("attempt %d", job.attempt)
        if job.attempt == 1:
            raise OSError("no")


def at_once(_: object) -> datetime:
    return datetime.now(UTC) + timedelta(milliseconds=1)


async def test_each_attempt_has_what_it_has_logged(dsn: str, connection: Connection, schema: Schema) -> None:
    workers = Workers()
    workers.add(OnLoop())
    async with working(dsn, connection, schema, workers, middleware=[JobLog(formatter=_BARE)]) as bench:
        app.info("nobody's")
        jobs = await bench.client.insert_many([Logged("a"), Logged("b")])
        for result, name in zip(jobs, ("a", "b"), strict=True):
            row = await bench.reaches(result.job.id, JobState.COMPLETED)
            log = f"INFO begins {name}\nWARNING part 0 of {name}\nWARNING part 1 of {name}\n"
            assert row.metadata == {"river:log": [{"attempt": 1, "log": log}]}


async def test_attempts_come_behind_what_is_there(dsn: str, connection: Connection, schema: Schema) -> None:
    workers = Workers()
    workers.add(InThread())
    log = JobLog(formatter=_BARE)
    async with working(dsn, connection, schema, workers, middleware=[log], retry_policy=at_once) as bench:
        earlier = {"attempt": 7, "log": "by somebody else"}
        opts = InsertOpts(metadata={"kept": 1, "river:log": [earlier]})
        row = await bench.reaches((await bench.client.insert(Logged(), opts)).job.id, JobState.COMPLETED)
        mine = [{"attempt": number, "log": f"INFO attempt {number}\n"} for number in (1, 2)]
        assert row.metadata == {"kept": 1, "river:log": [earlier, *mine]}
        logging.getLogger().handlers.clear()
        row = await bench.reaches((await bench.client.insert(Logged())).job.id, JobState.COMPLETED)
        assert (row.metadata or {})["river:log"] == mine


async def test_what_cannot_be_added_to_is_left_as_it_is(
    dsn: str, connection: Connection, schema: Schema, caplog: pytest.LogCaptureFixture
) -> None:
    workers = Workers()
    workers.add(OnLoop())
    async with working(dsn, connection, schema, workers, middleware=[JobLog()]) as bench:
        opts = InsertOpts(metadata={"river:log": "text"})
        row = await bench.reaches((await bench.client.insert(Logged("a"), opts)).job.id, JobState.COMPLETED)
        assert row.metadata == {"river:log": "text"}
    assert "the attempt's log is not kept" in caplog.messages
