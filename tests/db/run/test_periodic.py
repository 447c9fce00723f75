"""The leader inserts periodic jobs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import (
    Hook,
    InsertOpts,
    InsertParams,
    Interval,
    Job,
    JobRow,
    JobState,
    Middleware,
    Never,
    PeriodicJob,
    Unique,
    Workers,
)
from rivermill.db import Connection
from rivermill.insert_rows import PeriodicParams
from rivermill.joblist import JobListParams
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, eventually, working

OFTEN = Interval(timedelta(seconds=0.3))


@pytest.fixture
def workers() -> Workers:
    workers = Workers()

    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    return workers


async def notes(bench: Bench) -> list[JobRow]:
    return (await bench.client.job_list(JobListParams())).jobs


async def enough(bench: Bench, count: int) -> list[JobRow]:
    async def check() -> list[JobRow] | None:
        jobs = await notes(bench)
        return jobs if len(jobs) >= count and all(job.state is JobState.COMPLETED for job in jobs) else None

    jobs: list[JobRow] = await eventually(check)
    return jobs


def params(job: JobRow) -> tuple[Any, dict[str, Any]]:
    return job.args["text"], dict(job.metadata or {})


async def test_turns_come_on_start_and_then_by_the_schedule(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    seen: list[Any] = []

    class Look(Hook):
        async def insert_begin(self, params: Any) -> None:
            seen.append(params)

    # No poll comes in time, and no scheduler has to: the jobs are available at once, and workers are told.
    await connection.execute(f"INSERT INTO {schema.table('river_leader')} VALUES (now(), now() - interval '1 s', 'gone')")
    start = PeriodicJob(Never(), lambda: Note("once"), id="on-start", run_on_start=True)
    regular = PeriodicJob(OFTEN, lambda: InsertParams(Note("often"), InsertOpts(metadata={"own": 1}, tags=["abc"])))
    async with working(dsn, connection, schema, workers, periodic_jobs=[start, regular], hooks=[Look()]) as bench:
        jobs = await enough(bench, 4)
        before = datetime.now(UTC)
    assert params(jobs[0]) == ("once", {"river:periodic_job_id": "on-start", "periodic": True})
    often = jobs[1:4]
    assert [params(job) for job in often] == [("often", {"own": 1, "periodic": True})] * 3
    assert [job.tags for job in often] == [("abc",)] * 3
    # Each is due when its schedule meant it to be, whenever it was inserted.
    assert often[1].scheduled_at - often[0].scheduled_at == timedelta(seconds=0.3)
    assert often[2].scheduled_at - often[1].scheduled_at == timedelta(seconds=0.3)
    assert often[2].scheduled_at < before
    assert all(isinstance(one, PeriodicParams) for one in seen)
    assert len(seen) >= 4


async def test_only_the_leader_inserts_and_each_term_starts_anew(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    def jobs(name: str) -> list[PeriodicJob]:
        once = InsertParams(Note("once"), InsertOpts(unique=Unique(by_args=True)))
        return [
            PeriodicJob(Never(), lambda: Note(name), run_on_start=True),
            PeriodicJob(Never(), lambda: once, run_on_start=True),
        ]

    async with working(dsn, connection, schema, workers, client_id="one", periodic_jobs=jobs("one")) as first:
        await enough(first, 2)
        async with working(dsn, connection, schema, workers, client_id="two", periodic_jobs=jobs("two")) as second:
            assert len(await notes(second)) == 2
            await first.client.stop()
            # What was unique is not there twice.
            assert [job.args["text"] for job in await enough(second, 3)] == ["one", "once", "two"]


async def test_jobs_are_added_and_removed_at_run_time(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    async with working(dsn, connection, schema, workers) as bench:
        handle = bench.client.periodic_jobs.add(PeriodicJob(OFTEN, lambda: Note("added"), run_on_start=True))
        await enough(bench, 2)
        assert bench.client.periodic_jobs.remove(handle)
        bench.client.periodic_jobs.add(PeriodicJob(OFTEN, lambda: Note("later"), id="later"))
        await eventually(lambda: _says(bench, "later"))
        added = [job for job in await notes(bench) if job.args["text"] == "added"]
        bench.client.periodic_jobs.clear()
        count = len([job for job in await notes(bench) if job.args["text"] == "added"])
    assert len(added) == count


async def _says(bench: Bench, text: str) -> bool:
    return any(job.args["text"] == text for job in await notes(bench))


async def test_one_bad_job_spoils_no_other(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Note:
        raise RuntimeError("no")

    def invalid() -> InsertParams:
        return InsertParams(Note("never"), InsertOpts(priority=9))

    periodic = [
        PeriodicJob(OFTEN, broken, id="broken"),
        PeriodicJob(OFTEN, invalid, id="invalid"),
        PeriodicJob(OFTEN, lambda: None, id="nothing"),
        PeriodicJob(OFTEN, lambda: Note("good"), id="good"),
    ]
    with caplog.at_level(logging.INFO, "rivermill.periodic"):
        async with working(dsn, connection, schema, workers, periodic_jobs=periodic) as bench:
            jobs = await enough(bench, 2)
    assert {job.args["text"] for job in jobs} == {"good"}
    lost = {record.__dict__["id"] for record in caplog.records if "turn is lost" in record.message}
    assert lost == {"broken", "invalid"}
    assert any("nothing to insert" in record.message for record in caplog.records)


async def test_a_middleware_that_forgets_the_results_costs_no_turn(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgets(Middleware):
        async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
            await inner()

    periodic = [PeriodicJob(OFTEN, lambda: Note("good"))]
    async with working(dsn, connection, schema, workers, periodic_jobs=periodic, middleware=[Forgets()]) as bench:
        assert {job.args["text"] for job in await enough(bench, 2)} == {"good"}
    assert "middleware Forgets: insert_many returned None" in caplog.text
    assert "turn is lost" not in caplog.text


async def test_a_leader_that_cannot_start_gives_up_its_term(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    terms: list[str] = []

    class Refuses(Hook):
        async def periodic_jobs_start(self) -> None:
            terms.append("refused")
            raise RuntimeError("not here")

    class Counts(Hook):
        async def periodic_jobs_start(self) -> None:
            terms.append("started")

    periodic = [PeriodicJob(OFTEN, lambda: Note("led"))]
    leader = schema.table("river_leader")
    async with working(
        dsn, connection, schema, workers, client_id="one", hooks=[Refuses()], periodic_jobs=[PeriodicJob(OFTEN, Note)]
    ):
        await eventually(lambda: _led_by(connection, leader, "one"))
        async with working(
            dsn, connection, schema, workers, client_id="two", hooks=[Counts()], periodic_jobs=periodic
        ) as bench:
            await eventually(lambda: _led_by(connection, leader, "two"), 60)
            jobs = await enough(bench, 1)
    assert {job.args["text"] for job in jobs} == {"led"}
    assert "started" in terms
    assert terms.index("started") % 3 == 0


async def _led_by(connection: Connection, leader: str, client_id: str) -> bool:
    return bool(await connection.fetchval(f"SELECT leader_id FROM {leader}") == client_id)
