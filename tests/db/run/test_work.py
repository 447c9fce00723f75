"""Jobs are worked: every outcome, on a real database."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from prometheus_client import generate_latest

from rivermill import Client, InsertOpts, InsertParams, Job, JobCancel, JobSnooze, JobState, QueueConfig, Worker, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Note, eventually, working


async def test_async_and_sync_workers(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    seen: list[tuple[str, str]] = []

    @dataclass
    class Sync:
        kind: ClassVar[str] = "sync"
        text: str

    @workers.work
    async def on_loop(job: Job[Note]) -> None:
        seen.append((job.args.text, threading.current_thread().name))

    class SyncWorker(Worker[Sync]):
        def work(self, job: Job[Sync]) -> None:
            seen.append((job.args.text, threading.current_thread().name))

    workers.add(SyncWorker())
    async with working(dsn, connection, schema, workers) as bench:
        first = await bench.client.enqueue(Note("a"))
        second = await bench.client.enqueue(Sync("b"))
        row = await bench.reaches(first.id, JobState.COMPLETED)
        await bench.reaches(second.id, JobState.COMPLETED)
        assert row.attempt == 1
        assert row.attempted_by == (bench.client.settings.client_id,)
        assert row.finalized_at is not None
    assert ("a", "MainThread") in seen
    assert next(name for text, name in seen if text == "b").startswith("rivermill-job")


async def test_failures_retry_and_discard(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def fail(job: Job[Note]) -> None:
        raise RuntimeError(f"no {job.args.text}\x00")

    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Note("luck"), InsertOpts(max_attempts=2))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
        assert [e.attempt for e in row.errors] == [1, 2]
        assert row.errors[0].error == "RuntimeError: no luck\ufffd"
        assert "RuntimeError" in row.errors[0].trace
        late = (await bench.client.insert(Note("x"), InsertOpts(max_attempts=25))).job
        await connection.execute(
            f"UPDATE {schema.table('river_job')} SET errors = array_fill($2::jsonb, ARRAY[3]) WHERE id = $1",
            late.id,
            json.dumps({"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "e", "trace": ""}),
        )
        row = await bench.reaches(late.id, JobState.RETRYABLE)
        assert row.scheduled_at > datetime.now(UTC) + timedelta(seconds=5)


async def test_timeout_and_unknown_kind_are_failures(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    class Slow(Worker[Note]):
        timeout = timedelta(milliseconds=50)

        async def work(self, job: Job[Note]) -> None:
            await asyncio.sleep(30)

    workers.add(Slow())
    async with working(dsn, connection, schema, workers) as bench:
        job = (await bench.client.insert(Note(), InsertOpts(max_attempts=1))).job
        row = await bench.reaches(job.id, JobState.DISCARDED)
        assert "timed out" in row.errors[0].error
        for unknown in ("other", "another"):
            job_id = await connection.fetchval(
                f"INSERT INTO {schema.table('river_job')} (kind, args, max_attempts) VALUES ($1, '{{}}', 1) RETURNING id",
                unknown,
            )
            row = await bench.reaches(job_id, JobState.DISCARDED)
            assert row.errors[0].error == f"job kind is not registered in the client's Workers bundle: {unknown}"
        assert bench.client._runtime is not None
        counted = generate_latest(bench.client._runtime.metrics.registry).decode()
    discarded = re.findall(r'^rivermill_jobs_total\{kind="(.+?)",outcome="discarded",.*\} (.+)$', counted, re.MULTILINE)
    assert sorted(discarded) == [("(not registered)", "2.0"), ("note", "1.0")]


async def test_snooze_and_cancel_from_inside(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        if job.args.text == "cancel":
            raise JobCancel("enough")
        if not (job.row.metadata or {}).get("snoozes"):
            raise JobSnooze(timedelta(milliseconds=50))

    async with working(dsn, connection, schema, workers) as bench:
        snoozed = await bench.client.enqueue(Note("snooze"))
        cancelled = await bench.client.enqueue(Note("cancel"))
        row = await bench.reaches(snoozed.id, JobState.COMPLETED)
        assert (row.attempt, row.metadata, row.errors) == (1, {"snoozes": 1}, ())
        row = await bench.reaches(cancelled.id, JobState.CANCELLED)
        assert row.errors[0].error == "JobCancelError: enough"


async def in_a_group(job: Job[Note]) -> None:
    async def step() -> None:
        match job.args.text:
            case "cancel":
                raise JobCancel("enough")
            case "fail":
                raise KeyError("user_id")
        if not (job.row.metadata or {}).get("snoozes"):
            raise JobSnooze(timedelta(milliseconds=50))

    async with asyncio.TaskGroup() as group:
        group.create_task(step())
        group.create_task(asyncio.sleep(30 if job.args.text else 0))


def in_a_group_elsewhere(job: Job[Note]) -> None:
    asyncio.run(in_a_group(job))


@pytest.mark.parametrize(
    ("function", "executor"), [(in_a_group, "async"), (in_a_group_elsewhere, "thread"), (in_a_group_elsewhere, "process")]
)
async def test_what_comes_out_of_a_group_of_tasks(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, function: Any, executor: Any
) -> None:
    workers.work(executor=executor)(function)
    async with working(dsn, connection, schema, workers, queues={"default": 1}) as bench:  # so one process at most
        once = InsertOpts(max_attempts=1)
        snoozed, cancelled, failed = [(await bench.client.insert(Note(text), once)).job.id for text in ("", "cancel", "fail")]
        row = await bench.reaches(snoozed, JobState.COMPLETED)
        assert (row.attempt, row.metadata, row.errors) == (1, {"snoozes": 1}, ())
        row = await bench.reaches(cancelled, JobState.CANCELLED)
        assert row.errors[0].error == "JobCancelError: enough"
        row = await bench.reaches(failed, JobState.DISCARDED)
    group = "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"
    assert row.errors[0].error == f"{group}, first KeyError: 'user_id'"
    assert "in step" in row.errors[0].trace


async def test_cancel_from_outside(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        await asyncio.sleep(30)

    async with working(dsn, connection, schema, workers) as bench:
        running = await bench.client.enqueue(Note())
        await bench.reaches(running.id, JobState.RUNNING)
        await bench.client.cancel(running.id)
        row = await bench.reaches(running.id, JobState.CANCELLED)
        assert row.errors[0].error == "JobCancelError: job cancelled remotely"
        waiting = await bench.client.enqueue_scheduled(Note(), datetime.now(UTC) + timedelta(hours=1))
        assert (await bench.client.cancel(waiting.id)).state is JobState.CANCELLED


async def test_soft_stop_gives_jobs_back(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        await asyncio.sleep(30)

    async with working(dsn, connection, schema, workers, shutdown_timeout=timedelta(seconds=0.1)) as bench:
        job = await bench.client.enqueue(Note())
        await bench.reaches(job.id, JobState.RUNNING)
        await bench.client.stop()
    async with Client(dsn, schema=schema) as client:
        row = await client.job_get(job.id)
    assert (row.state, row.attempt, row.errors) == (JobState.AVAILABLE, 0, ())
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 0


async def test_two_clients_run_each_job_once(dsn: str, connection: Connection, schema: Schema) -> None:
    runs: dict[str, int] = {}

    def make() -> Workers:
        workers = Workers()

        @workers.work
        async def work(job: Job[Note]) -> None:
            runs[job.args.text] = runs.get(job.args.text, 0) + 1

        return workers

    total = 3000
    async with (
        working(dsn, connection, schema, make(), client_id="one", queues={"default": 50}) as bench,
        working(dsn, connection, schema, make(), client_id="two", queues={"default": 50}),
    ):
        await bench.client.insert_many([Note(str(i)) for i in range(total)])

        async def done() -> bool:
            table = schema.table("river_job")
            return bool(await connection.fetchval(f"SELECT count(*) = {total} FROM {table} WHERE state = 'completed'"))

        await eventually(done, 60)
    assert set(runs.values()) == {1}
    assert len(runs) == total
    # A job that was claimed ahead in vain has been given back, and claimed again.
    workers_seen = await connection.fetch(f"SELECT DISTINCT unnest(attempted_by) FROM {schema.table('river_job')}")
    assert len(workers_seen) == 2


async def test_pause_resume_and_priority(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    order: list[str] = []

    @workers.work
    async def work(job: Job[Note]) -> None:
        order.append(job.args.text)

    async with working(dsn, connection, schema, workers, queues={"default": 1}) as bench:
        await bench.client.queue_pause("default")

        async def paused() -> bool:
            return (await bench.client.queue_get("default")).paused_at is not None

        await eventually(paused)
        await asyncio.sleep(0.1)
        jobs = [
            r.job
            for r in await bench.client.insert_many([InsertParams(Note(str(p)), InsertOpts(priority=p)) for p in (3, 1, 4, 2)])
        ]
        assert order == []
        await bench.client.queue_resume("default")
        for job in jobs:
            await bench.reaches(job.id, JobState.COMPLETED)
    assert order == ["1", "2", "3", "4"]


async def test_a_slot_that_becomes_free_among_long_jobs_is_filled(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    started: list[str] = []
    gates = {str(number): asyncio.Event() for number in range(50)}

    @workers.work
    async def work(job: Job[Note]) -> None:
        started.append(job.args.text)
        await gates[job.args.text].wait()

    queues = {"default": QueueConfig(40, poll_interval=timedelta(hours=1))}
    async with working(dsn, connection, schema, workers, queues=queues) as bench:
        await bench.client.insert_many([InsertParams(Note(number)) for number in gates])
        for most in (40, 41, 42):
            await eventually(lambda most=most: asyncio.sleep(0, len(started) == most))
            await asyncio.sleep(0.1)
            assert len(started) == most
            gates[started[most - 40]].set()
        for gate in gates.values():
            gate.set()


async def test_scheduled_jobs_become_due(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        pass

    async with working(dsn, connection, schema, workers) as bench:
        job = await bench.client.enqueue_scheduled(Note(), datetime.now(UTC) + timedelta(seconds=1))
        assert job.state is JobState.SCHEDULED
        row = await bench.reaches(job.id, JobState.COMPLETED)
        assert row.attempted_at is not None
        assert row.attempted_at >= row.scheduled_at


async def test_a_row_that_cannot_be_decoded_spoils_only_itself(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        assert job.row.kind == "note"

    table = schema.table("river_job")
    bad = await connection.fetchval(
        f"INSERT INTO {table} (kind, args, metadata, max_attempts) VALUES ('note', '{{}}', '[1]', 1) RETURNING id"
    )
    odd = await connection.fetchval(
        f"INSERT INTO {table} (kind, args, errors) VALUES ('note', '{{}}', ARRAY['1'::jsonb]) RETURNING id"
    )
    wrong = await connection.fetchval(
        f"INSERT INTO {table} (kind, args, max_attempts) VALUES ('note', '{{\"text\": 5}}', 1) RETURNING id"
    )
    good = await connection.fetchval(f"INSERT INTO {table} (kind, args) VALUES ('note', '{{}}') RETURNING id")
    async with working(dsn, connection, schema, workers) as bench:
        await bench.reaches(good, JobState.COMPLETED)
        await bench.reaches(odd, JobState.COMPLETED)
        row = await bench.reaches(wrong, JobState.DISCARDED)
        assert "args do not fit Note" in row.errors[0].error

        async def discarded() -> bool:
            return await connection.fetchval(f"SELECT state::text FROM {table} WHERE id = $1", bad) == "discarded"

        await eventually(discarded)
        error = json.loads(await connection.fetchval(f"SELECT errors[1] FROM {table} WHERE id = $1", bad))["error"]
        assert error.startswith("job row couldn't be decoded: ")


async def test_connections_killed_under_load(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    @workers.work
    async def work(job: Job[Note]) -> None:
        await asyncio.sleep(0.01)

    async with working(dsn, connection, schema, workers, queues={"default": 20}) as bench:
        for burst in range(5):
            await bench.client.insert_many([Note(f"{burst} {i}") for i in range(200)])
            await asyncio.sleep(0.05)
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rivermill %' "
                "AND pid <> pg_backend_pid()"
            )

            async def usable() -> bool:
                try:
                    return bool(await bench.client.queue_list())
                except Exception:  # noqa: BLE001 - the connection was killed on purpose
                    return False

            await eventually(usable)

        async def done() -> bool:
            query = f"SELECT count(*) FROM {schema.table('river_job')} WHERE state = 'completed' AND attempt = 1"
            return bool(await connection.fetchval(query) == 1000)

        await eventually(done, 60)


@pytest.mark.parametrize("output", [False, True], ids=["plain", "with-output"])
async def test_the_end_is_that_of_the_worker(
    dsn: str, connection: Connection, schema: Schema, workers: Workers, output: bool
) -> None:
    """And not the time of the write, which waits for one before it here."""
    go = {"first": asyncio.Event(), "second": asyncio.Event()}
    ended = asyncio.Event()

    @workers.work
    async def work(job: Job[Note]) -> None:
        await go[job.args.text].wait()
        if output:
            job.record_output("kept")
        if job.args.text == "second":
            ended.set()

    async with working(dsn, connection, schema, workers) as bench:
        first, second = [result.job for result in await bench.client.insert_many([Note("first"), Note("second")])]
        await bench.reaches(second.id, JobState.RUNNING)
        async with connection.transaction():
            await connection.execute(f"SELECT FROM {schema.table('river_job')} WHERE id = $1 FOR UPDATE", first.id)
            go["first"].set()
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'rivermill %'"
            )
            await eventually(lambda: connection.fetchval(waiting))
            go["second"].set()
            await ended.wait()
            await asyncio.sleep(1)
            before_the_write = await connection.fetchval("SELECT clock_timestamp()")
        row = await bench.reaches(second.id, JobState.COMPLETED)
        assert row.attempted_at is not None
        assert row.finalized_at is not None
        assert row.attempted_at < row.finalized_at < before_the_write
