"""Jobs of a sequence run one at a time and in the order of their ids, whoever claims, finishes and dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from rivermill import (
    Client,
    InsertOpts,
    InsertParams,
    Job,
    JobCancel,
    JobState,
    MigrationError,
    SequenceOpts,
    Unique,
    ValidationError,
    Workers,
)
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.parts import OF, WAITING, Part, assert_in_order, left, part, states
from tests.db.run.support import Bench, Note, eventually, working


def doing() -> Workers:
    """Workers that do what the args say: ``fail once``, ``fail``, ``cancel``, or nothing."""
    workers = Workers()

    @workers.work
    async def work(job: Job[Part]) -> None:
        await asyncio.sleep(0.002)
        if job.args.does == "fail" or (job.args.does == "fail once" and job.attempt == 1):
            raise ValueError(job.args.does)
        if job.args.does == "cancel":
            raise JobCancel("no more")

    @workers.work
    async def note(job: Job[Note]) -> None:
        pass

    return workers


def at_once(row: Any) -> datetime:
    return datetime.now(UTC)


async def reach(bench: Bench, *wanted: str) -> None:
    async def check() -> bool:
        return await states(bench.connection, bench.schema) == list(wanted)

    await eventually(check, 60)


async def test_two_clients_keep_the_order(dsn: str, connection: Connection, schema: Schema) -> None:
    names, each = "abcde", 24
    options: dict[str, Any] = {"queues": {"default": 20}, "retry_policy": at_once}
    async with (
        working(dsn, connection, schema, doing(), client_id="one", **options) as bench,
        working(dsn, connection, schema, doing(), client_id="two", **options) as other,
    ):

        async def insert(client: Client, of: str) -> None:
            for start in range(0, each, 3):
                await client.insert_many([part(of, "" if (start + n) % 5 else "fail once") for n in range(3)])

        await asyncio.gather(*(insert((bench, other)[n % 2].client, of) for n, of in enumerate(names)))
        await reach(bench, *["completed"] * (len(names) * each))

        async def nothing_left() -> bool:
            return await left(connection, schema) == [0, 0]

        await eventually(nothing_left)
    await assert_in_order(connection, schema)
    rows = await connection.fetch(f"SELECT DISTINCT attempted_by[1] AS client FROM {schema.table('river_job')}")
    assert {row["client"] for row in rows} == {"one", "two"}


async def test_never_two_at_once_although_many_insert_in_transactions(dsn: str, connection: Connection, schema: Schema) -> None:
    """Ids and commits are in different orders here; one at a time holds all the same, and each job runs once."""
    now, most, runs = 0, 0, []
    workers = Workers()

    @workers.work
    async def work(job: Job[Part]) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        runs.append(job.id)
        await asyncio.sleep(0.001)
        now -= 1

    async with (
        working(dsn, connection, schema, workers, client_id="one") as bench,
        working(dsn, connection, schema, workers, client_id="two"),
    ):

        async def insert(number: int) -> None:
            own = await asyncpg.connect(dsn)
            try:
                for turn in range(5):
                    async with own.transaction():
                        await bench.client.insert_many([part(), part()], tx=own)
                        await asyncio.sleep(0.001 * ((number * 7 + turn * 3) % 5))
            finally:
                await own.close()

        await asyncio.gather(*(insert(number) for number in range(6)))
        await reach(bench, *["completed"] * 60)
    assert most == 1
    assert sorted(runs) == sorted(set(runs))


async def test_the_first_is_due_at_once_and_the_others_wait(dsn: str, connection: Connection, schema: Schema) -> None:
    async with Client(dsn, schema=schema) as client:
        results = await client.insert_many([part("a"), part("b"), part("a"), Note("free")])
        assert [result.job.state.value for result in results] == ["available", "available", "pending", "available"]
        assert (await client.job_get(results[2].job.id)).state is JobState.PENDING
        assert (await client.insert(Part("b"), InsertOpts(sequence=OF))).job.state is JobState.PENDING
        assert (await client.insert(Part("c"), InsertOpts(sequence=OF))).job.state is JobState.AVAILABLE
    assert await left(connection, schema) == [3, 2]


@pytest.mark.parametrize(
    ("does", "sequence", "halted"),
    [
        ("fail", OF, "discarded"),
        ("cancel", OF, "cancelled"),
        ("fail", replace(OF, continue_on_cancelled=True), "discarded"),
        ("cancel", replace(OF, continue_on_discarded=True), "cancelled"),
    ],
)
@pytest.mark.parametrize("way_out", ["retry", "delete"])
async def test_a_job_that_fails_for_good_halts_its_sequence(
    dsn: str, connection: Connection, schema: Schema, does: str, sequence: SequenceOpts, halted: str, way_out: str
) -> None:
    async with working(dsn, connection, schema, doing()) as bench:
        jobs = [part(does=does, sequence=sequence, max_attempts=1), part(), part("other")]
        results = await bench.client.insert_many(jobs)
        await bench.reaches(results[0].job.id, JobState(halted))
        await bench.reaches(results[2].job.id, JobState.COMPLETED)
        # A look has come and gone: what waits for another sequence is found by it.
        await _looked(bench)
        assert await states(connection, schema) == [halted, "pending", "completed"]
        if way_out == "retry":
            await connection.execute(
                f'UPDATE {schema.table("river_job")} SET args = \'{{"of": "a"}}\' WHERE id = $1', results[0].job.id
            )
            await bench.client.job_retry(results[0].job.id)
            await reach(bench, "completed", "completed", "completed")
        else:
            await bench.client.job_delete(results[0].job.id)
            await reach(bench, "completed", "completed")
    await assert_in_order(connection, schema)


async def _looked(bench: Bench) -> None:
    """A sequence whose turn is over unseen, as after a crash, has been found: so there was a look."""
    first, second = await bench.client.insert_many(
        [part("look", scheduled_at=datetime.now(UTC) + timedelta(days=1)), part("look")]
    )
    await bench.client.job_delete(first.job.id)
    await bench.reaches(second.job.id, JobState.COMPLETED)
    await bench.client.job_delete(second.job.id)


@pytest.mark.parametrize(
    ("does", "sequence", "state"),
    [
        ("fail", replace(OF, continue_on_discarded=True), "discarded"),
        ("cancel", replace(OF, continue_on_cancelled=True), "cancelled"),
    ],
)
async def test_a_sequence_may_go_on_all_the_same(
    dsn: str, connection: Connection, schema: Schema, does: str, sequence: SequenceOpts, state: str
) -> None:
    async with working(dsn, connection, schema, doing()) as bench:
        await bench.client.insert_many([part(does=does, sequence=sequence, max_attempts=1), part()])
        await reach(bench, state, "completed")
    await assert_in_order(connection, schema)


async def test_waiting_jobs_that_are_cancelled_or_deleted(dsn: str, connection: Connection, schema: Schema) -> None:
    goes_on = replace(OF, continue_on_cancelled=True)
    async with Client(dsn, schema=schema) as client:
        results = await client.insert_many([part(), part(sequence=goes_on), part(), part(), part(), part(sequence=OF), part()])
        ids = [result.job.id for result in results]
        await client.cancel(ids[1])
        await client.job_delete(ids[2])
        await client.job_delete(ids[3])
        await client.cancel(ids[5])
    async with working(dsn, connection, schema, doing()) as bench:
        # The second goes on although it is cancelled; the last but one does not.
        await reach(bench, "completed", "cancelled", "completed", "cancelled", "pending")
        await bench.client.job_delete(ids[5])
        await reach(bench, "completed", "cancelled", "completed", "completed")


async def test_after_a_crash_between_the_end_of_a_job_and_the_next_turn(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    """One client completes and never gives a turn on, as if it died each time; the other's looks do it."""
    async with working(dsn, connection, schema, doing(), client_id="dies") as bench:
        assert bench.client._runtime
        bench.client._runtime._tasks["sequencer"].cancel()
        bench.client._runtime._sequencer._claimed.clear()
        bench.client._runtime._producer._claimed = list  # does nothing with them
        await bench.client.insert_many([part() for _ in range(4)])
        await reach(bench, "completed", "pending", "pending", "pending")
        async with working(dsn, connection, schema, doing(), client_id="looks", queues={"nothing": 1}):
            await reach(bench, *["completed"] * 4)
    await assert_in_order(connection, schema)


async def test_a_turn_that_was_over_before_any_client_started(dsn: str, connection: Connection, schema: Schema) -> None:
    async with Client(dsn, schema=schema) as client:
        first = (await client.insert_many([part(), part()]))[0].job.id
    await connection.execute(  # as River for Go finishes a job
        f"UPDATE {schema.table('river_job')} SET state = 'completed', finalized_at = now() WHERE id = $1", first
    )
    async with working(dsn, connection, schema, doing()) as bench:
        await reach(bench, "completed", "completed")


async def test_a_sequence_that_is_held_up_holds_up_no_other(
    dsn: str, connection: Connection, schema: Schema, other: Connection
) -> None:
    """Two sequences are nobody's turn though jobs wait, and one of them is begun in a transaction that stays open for long."""
    async with Client(dsn, schema=schema) as client:
        ids = [result.job.id for result in await client.insert_many([part(of) for of in "aabbcc"])]
        await connection.execute(
            f"UPDATE {schema.table('river_job')} SET state = 'completed', finalized_at = now() WHERE id = ANY($1)", ids[::2]
        )
        await connection.execute(f"DELETE FROM {schema.table('rivermill_sequence')} WHERE job_id = ANY($1)", [ids[0], ids[2]])
        held = other.transaction()
        await held.start()
        await client.insert_many([part("a")], tx=other)
    async with working(dsn, connection, schema, doing()) as bench:
        await reach(bench, "completed", "pending", *["completed"] * 4)
        await held.rollback()
        await reach(bench, *["completed"] * 6)


async def test_the_last_client_gives_its_turns_on_before_it_leaves(dsn: str, connection: Connection, schema: Schema) -> None:
    started, end = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.work
    async def work(job: Job[Part]) -> None:
        started.set()
        await end.wait()

    async with working(dsn, connection, schema, workers) as bench:
        await bench.client.insert_many([part(), part()])
        await started.wait()
        stopping = asyncio.create_task(bench.client.stop())
        await asyncio.sleep(0)
        end.set()
        await stopping
    assert await states(connection, schema) == ["completed", "available"]


async def test_a_later_time_is_kept_at_its_turn(dsn: str, connection: Connection, schema: Schema) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    async with working(dsn, connection, schema, doing()) as bench:
        results = await bench.client.insert_many([part(), part(scheduled_at=later), part()])
        await reach(bench, "completed", "scheduled", "pending")
        await bench.client.job_retry(results[1].job.id)
        await reach(bench, "completed", "completed", "completed")


async def test_duplicates_of_unique_jobs_are_in_no_sequence(dsn: str, connection: Connection, schema: Schema) -> None:
    async with Client(dsn, schema=schema) as client:
        once = [part(does=name, unique=Unique(by_args=True)) for name in "xy"]
        first = await client.insert_many(once)
        again = await client.insert_many(list(reversed(once)))
        assert [result.unique_skipped_as_duplicate for result in (*first, *again)] == [False, False, True, True]
        assert [result.job.state.value for result in (*first, *again)] == ["available", "pending", "pending", "available"]
        assert [result.job.id for result in again] == [first[1].job.id, first[0].job.id]
    assert await left(connection, schema) == [1, 1]


async def test_what_is_in_no_sequence(dsn: str, connection: Connection, schema: Schema) -> None:
    async with Client(dsn, schema=schema) as client:
        with pytest.raises(ValidationError, match="insert_many does"):
            await client.insert_many_fast([part()])
        with pytest.raises(ValidationError, match="pending until their turn"):
            await client.insert_many([part(pending=True)])
        undone = connection.transaction()
        await undone.start()
        await client.insert_many([part(), part()], tx=connection)
        await undone.rollback()
        assert await left(connection, schema) == [0, 0]
        marked = (await client.insert_many([part("marked")]))[0].job
        # Metadata that were taken from another job make no member.
        copied = InsertParams(Part("marked"), InsertOpts(metadata=marked.metadata))
        results = await client.insert_many([part("marked"), copied])
        assert [result.job.state.value for result in results] == ["pending", "available"]
        assert await left(connection, schema) == [1, 1]


async def test_without_the_tables(dsn: str, connection: Connection, schema: Schema) -> None:
    for table in WAITING:
        await connection.execute(f"DROP TABLE {schema.table(table)}")
    async with working(dsn, connection, schema, doing()) as bench:
        with pytest.raises(MigrationError, match="migrate up"):
            await bench.client.insert_many([part()])
        free = await bench.client.insert(Note("free"))
        await bench.reaches(free.job.id, JobState.COMPLETED)
        assert await states(connection, schema) == []
