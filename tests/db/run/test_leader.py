"""What takes long holds up neither the leader's term nor its jobs, and a term that cannot be renewed ends in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from rivermill import Interval, Job, JobState, PeriodicJob, Worker, Workers
from rivermill.db import Connection, SharedConnection
from rivermill.leader import ElectionTimings, Elector
from rivermill.maintenance import connection as leader_connection
from rivermill.schema import Schema
from tests.db.run.support import ME, Note, eventually, working


async def test_a_slow_service_costs_neither_the_term_nor_a_completion(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    leader = f"SELECT elected_at, expires_at FROM {schema.table('river_leader')}"
    stuck = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'rivermill %' "
        "AND query LIKE '%DELETE FROM%river_queue%'"
    )
    holder = await asyncpg.connect(dsn)
    try:
        async with working(dsn, connection, schema, workers) as bench:
            term = await eventually(lambda: connection.fetchrow(leader))
            async with holder.transaction():
                await holder.execute(f"LOCK TABLE {schema.table('river_queue')} IN ACCESS EXCLUSIVE MODE")
                await eventually(lambda: connection.fetchval(stuck))

                async def renewed() -> bool:
                    # Longer than a term lives that is not renewed.
                    now = await connection.fetchrow(leader)
                    return bool((now["expires_at"] - term["expires_at"]).total_seconds() > 2)

                await eventually(renewed)
                assert (await connection.fetchrow(leader))["elected_at"] == term["elected_at"]
                job = await bench.client.enqueue(Note())
                await bench.reaches(job.id, JobState.COMPLETED)
    finally:
        await holder.close()


class ShakyWorker(Worker[Note]):
    """One whose time limit cannot always be told."""

    broken = False

    @property
    def timeout(self) -> timedelta | None:  # type: ignore[override]
        if self.broken:
            raise RuntimeError("no time limit to be had")
        return None

    async def work(self, job: Job[Note]) -> None: ...


async def test_a_service_that_fails_in_any_way_goes_on(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    worker = ShakyWorker()
    workers.add(worker)
    lost = (
        f"INSERT INTO {schema.table('river_job')} (kind, args, state, attempt, attempted_at, attempted_by) "
        "VALUES ('note', '{}', 'running', 1, now() - interval '5 hours', '{gone}') RETURNING id"
    )

    async def failed() -> bool:
        return "rescuer failed, and tries again" in caplog.text

    async with working(dsn, connection, schema, workers) as bench:
        worker.broken = True
        job_id = await connection.fetchval(lost)
        await eventually(failed)
        worker.broken = False
        row = await bench.reaches(job_id, JobState.COMPLETED)
    assert row.errors[0].error == "Stuck job rescued by JobRescuer"


async def test_a_leader_at_work_has_three_connections(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For claims, for completions and what the leader does, and for notifications; ``maxConnections`` counts on it."""
    monkeypatch.setattr(leader_connection, "QUICK_SECONDS", 60.0)  # however busy the computer is

    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rivermill me'"
    periodic = [PeriodicJob(Interval(timedelta(seconds=0.1)), Note, run_on_start=True)]
    table = schema.table("river_job")
    async with working(dsn, connection, schema, workers, client_id="me", periodic_jobs=periodic):
        # The enqueuer, and the scheduler, have done something.
        await eventually(lambda: connection.fetchval(f"SELECT count(*) > 3 FROM {table} WHERE state = 'completed'"))
        due = f"INSERT INTO {table} (kind, args, state, scheduled_at) VALUES ('note', '{{}}', 'scheduled', now()) RETURNING id"
        job_id = await connection.fetchval(due)
        done = f"SELECT state = 'completed' FROM {table} WHERE id = $1"
        await eventually(lambda: connection.fetchval(done, job_id))
        assert await connection.fetchval(query) == 3


async def test_a_term_ends_in_time_although_its_connection_is_held_up(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, other: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await release.wait()

    completion = (
        "SELECT query_start FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'rivermill %' "
        f"AND query LIKE '%UPDATE {schema.table('river_job')} SET state = ''completed''%'"
    )

    async def lost() -> bool:
        return "leadership lost" in caplog.text

    async with working(dsn, connection, schema, workers) as bench:
        await eventually(lambda: connection.fetchval(f"SELECT count(*) FROM {schema.table('river_leader')}"))
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        async with other.transaction():
            await other.execute(f"SELECT FROM {schema.table('river_job')} WHERE id = $1 FOR UPDATE", job.id)
            release.set()
            began = await eventually(lambda: connection.fetchval(completion))
            await eventually(lost)
            assert await connection.fetchval(completion) == began
        await bench.reaches(job.id, JobState.COMPLETED)


@pytest.mark.parametrize("turns", range(8))
async def test_an_elector_that_is_woken_as_it_is_cancelled_ends(dsn: str, schema: Schema, turns: int) -> None:
    """As where two clients stop at once, and the leader is the first to resign."""
    shared, changes = SharedConnection(dsn, "rivermill test"), list[bool]()
    elector = Elector(shared, schema, ME, changes.append, ElectionTimings())
    async with shared.acquire() as connection:
        await connection.execute(
            f"INSERT INTO {schema.table('river_leader')} (leader_id, elected_at, expires_at) "
            "VALUES ('other', now(), now() + interval '1 minute')"
        )
    running = asyncio.create_task(elector.run(), name="rivermill elector")
    try:
        await asyncio.sleep(0.5)
        elector.notified('{"action": "resigned", "leader_id": "other"}')
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await shared.close()


async def test_a_term_won_after_a_long_wait_for_the_connection_is_kept(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    timings = ElectionTimings(interval=0.2, jitter=0.1, ttl=4.0, trust=3.0)
    shared, changes = SharedConnection(dsn, "rivermill test"), list[bool]()
    elector = Elector(shared, schema, ME, changes.append, timings)
    leader = f"SELECT elected_at, expires_at FROM {schema.table('river_leader')}"
    running: asyncio.Task[None] | None = None
    try:
        async with shared.acquire():
            running = asyncio.create_task(elector.run(), name="rivermill elector")
            await asyncio.sleep(timings.trust + 0.3)
        term = await eventually(lambda: connection.fetchrow(leader))

        async def renewed() -> bool:
            row = await connection.fetchrow(leader)
            return row is not None and bool(row["expires_at"] > term["expires_at"])

        await eventually(renewed)
        assert changes == [True]
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await shared.close()
