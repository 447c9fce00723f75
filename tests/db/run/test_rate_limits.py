"""Never one job more starts in a period than a queue's rate limit allows, however many clients claim."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from rivermill import (
    Client,
    Concurrency,
    InsertOpts,
    InsertParams,
    Job,
    JobState,
    MigrationError,
    NotFoundError,
    QueueConfig,
    RateLimit,
    Workers,
)
from rivermill.db import Connection
from rivermill.limited_claim import LimitedClaim
from rivermill.schema import Schema
from tests.db.run.support import Bench, Claims, Note, eventually, waits_for_lock, working

SHORT = timedelta(milliseconds=300)
#: None of these ends while a test runs.
LONG = timedelta(days=366)


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"
    to: str = ""


def counting(runs: Counter[int]) -> Workers:
    """Workers that count the attempts of each job."""
    workers = Workers()

    @workers.work
    async def mail(job: Job[Mail]) -> None:
        runs[job.id] += 1

    @workers.work
    async def note(job: Job[Note]) -> None:
        runs[job.id] += 1

    return workers


async def with_queue(connection: Connection, schema: Schema, *names: str) -> None:
    """Make the rows of queues that nobody works yet."""
    await connection.executemany(
        f"INSERT INTO {schema.table('river_queue')} (name) VALUES ($1)", [(name,) for name in names or ("default",)]
    )


@pytest.mark.parametrize(
    ("rate", "part", "concurrency"),
    [
        (RateLimit(20, SHORT), "''", None),
        (RateLimit(10, SHORT, by_kind=True), "kind", None),
        (RateLimit(10, SHORT, by_args=["to"]), "args ->> 'to'", None),
        (RateLimit(20, SHORT), "''", Concurrency(3)),
        (RateLimit(10, SHORT, by_args=["to"]), "args ->> 'to'", Concurrency(4, by_kind=True)),
    ],
    ids=["queue", "by-kind", "by-args", "beside-concurrency", "two-partitions"],
)
async def test_two_clients_stay_within_the_rate(
    dsn: str, connection: Connection, schema: Schema, rate: RateLimit, part: str, concurrency: Concurrency | None
) -> None:
    await with_queue(connection, schema)
    runs: Counter[int] = Counter()
    async with Client(dsn, schema=schema) as client:
        await client.queue_rate_limit("default", rate)
        await client.queue_limit("default", concurrency)
        await client.insert_many([Mail("ab"[i % 2]) if i % 3 else Note(str(i)) for i in range(100)])
    async with (
        working(dsn, connection, schema, counting(runs), client_id="one", queues={"default": 20}) as bench,
        working(dsn, connection, schema, counting(runs), client_id="two", queues={"default": 20}),
    ):
        await bench.completes(100)
    assert set(runs.values()) == {1}
    rows = await connection.fetch(
        f"SELECT {part} AS part, date_bin($1, attempted_at, to_timestamp(0)) AS period, count(*) AS jobs "
        f"FROM {schema.table('river_job')} GROUP BY 1, 2",
        SHORT,
    )
    assert [row for row in rows if row["jobs"] > rate.limit] == []
    assert sum(row["jobs"] for row in rows) == 100


async def limited(dsn: str, connection: Connection, schema: Schema, rate: RateLimit, *jobs: Any) -> list[int]:
    """Insert jobs into a queue with a rate limit; returns their ids."""
    await with_queue(connection, schema)
    async with Client(dsn, schema=schema) as client:
        await client.queue_rate_limit("default", rate)
        return [result.job.id for result in await client.insert_many(list(jobs))]


async def test_a_claim_counts_what_was_claimed_while_it_waited(
    connection: Connection, other: Connection, dsn: str, schema: Schema
) -> None:
    """The proof: the second claim begins before the first has committed, and yet counts what that took."""
    await limited(dsn, connection, schema, RateLimit(3, LONG), *(Note(str(i)) for i in range(10)))
    first, second = LimitedClaim(schema, "first", None), LimitedClaim(schema, "second", None)
    transaction = connection.transaction()
    await transaction.start()
    assert len((await first.fetch(connection, "default", 2)).records) == 2
    waiting = asyncio.create_task(second.fetch(other, "default", 5))
    await waits_for_lock(dsn, other)
    assert not waiting.done()
    await transaction.commit()
    claims = await waiting
    assert (len(claims.records), claims.closed) == (1, True)
    assert 0 < (claims.opens_after or 0) <= LONG.total_seconds()
    assert (await second.fetch(other, "default", 5)).records == []
    # It has started after what it waited for, and says so.
    times = await connection.fetch(
        f"SELECT attempted_by[1] AS who, min(attempted_at) AS at FROM {schema.table('river_job')} "
        "WHERE state = 'running' GROUP BY 1 ORDER BY at"
    )
    assert [row["who"] for row in times] == ["first", "second"]


async def test_a_claim_that_is_rolled_back_has_started_nothing(connection: Connection, dsn: str, schema: Schema) -> None:
    await limited(dsn, connection, schema, RateLimit(2, LONG), Note("a"), Note("b"))
    claim = LimitedClaim(schema, "me", None)
    transaction = connection.transaction()
    await transaction.start()
    assert len((await claim.fetch(connection, "default", 5)).records) == 2
    await transaction.rollback()
    assert len((await claim.fetch(connection, "default", 5)).records) == 2


async def test_a_retry_is_one_more_start(connection: Connection, dsn: str, schema: Schema) -> None:
    await limited(dsn, connection, schema, RateLimit(3, LONG), Note("a"), Note("b"))
    claim = LimitedClaim(schema, "me", None)
    first = await claim.fetch(connection, "default", 5)
    assert (len(first.records), first.opens_after, first.closed) == (2, None, False)
    await connection.execute(f"UPDATE {schema.table('river_job')} SET state = 'available'")
    again = await claim.fetch(connection, "default", 5)
    assert (len(again.records), again.closed, again.ends_make_room) == (1, True, False)


async def test_full_parts_are_passed_over(connection: Connection, dsn: str, schema: Schema) -> None:
    urgent = [Mail("busy")] * 1500
    rest = [InsertParams(Mail("idle"), InsertOpts(priority=4)), Note("other")]
    ids = await limited(dsn, connection, schema, RateLimit(2, LONG, by_args=["to"]), *urgent, *rest)
    claim = LimitedClaim(schema, "me", None)
    assert {record["id"] for record in (await claim.fetch(connection, "default", 10)).records} == set(ids[:2])
    # Those beyond the window have their turn once the part before them is full.
    claims = await claim.fetch(connection, "default", 10)
    assert {record["id"] for record in claims.records} == set(ids[-2:])
    assert claims.opens_after is not None
    assert not claims.closed


async def test_periods_that_are_over_are_forgotten(connection: Connection, dsn: str, schema: Schema) -> None:
    await limited(dsn, connection, schema, RateLimit(2, LONG), Note("a"))
    table = schema.table("rivermill_rate")
    await connection.execute(
        f"INSERT INTO {table} VALUES ('default', 'x', to_timestamp(0), 2), ('other', 'x', to_timestamp(0), 2)"
    )
    assert len((await LimitedClaim(schema, "me", None).fetch(connection, "default", 10)).records) == 1
    rows = await connection.fetch(f"SELECT queue, started FROM {table} ORDER BY queue")
    assert [tuple(row) for row in rows] == [("default", 1), ("other", 2)]


async def test_nothing_is_claimed_while_none_may_start_and_a_change_is_used_at_once(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    await limited(dsn, connection, schema, RateLimit(1, LONG), Note("first"))
    claims, runs = Claims(), Counter[int]()
    patient = QueueConfig(10, poll_interval=timedelta(hours=1))
    queues = {"default": patient, "free": patient}
    async with working(dsn, connection, schema, counting(runs), queues=queues, hooks=[claims]) as bench:
        await bench.completes(1)
        await bench.client.insert(Note("second"))
        await _worked_elsewhere(bench)
        made = claims.made["default"]
        for number in range(5):
            await bench.client.insert(Note(str(number)))
            await _worked_elsewhere(bench)
        assert claims.made["default"] == made
        assert len(runs) == 7
        await bench.client.queue_rate_limit("default", RateLimit(3, LONG))
        await bench.completes(9)
        await bench.client.queue_rate_limit("default", None)
        await bench.completes(13)
    assert set(runs.values()) == {1}


async def _worked_elsewhere(bench: Bench) -> None:
    """A job of another queue has been worked, so what was inserted before has been heard of."""
    result = await bench.client.insert(Note("elsewhere"), InsertOpts(queue="free"))
    await bench.reaches(result.job.id, JobState.COMPLETED)


async def _limited(bench: Bench) -> bool:
    assert bench.client._runtime
    return bench.client._runtime._producer._queues["default"].limited


async def test_without_the_table_no_rate_can_be_set_and_nothing_starts(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    await with_queue(connection, schema)
    runs: Counter[int] = Counter()
    async with Client(dsn, schema=schema) as client:
        with pytest.raises(NotFoundError):
            await client.queue_rate_limit("nobody", RateLimit(1, LONG))
        await connection.execute(f"DROP TABLE {schema.table('rivermill_rate')}")
        with pytest.raises(MigrationError, match="migrate up"):
            await client.queue_rate_limit("default", RateLimit(1, LONG))
        metadata = {"rate_limit": RateLimit(1, LONG).to_metadata()}
        await client.queue_update("default", metadata=metadata)
        held = (await client.insert(Note("held"))).job.id
    async with working(dsn, connection, schema, counting(runs), queues={"default": 5, "free": 5}) as bench:
        await eventually(lambda: _limited(bench))
        await _worked_elsewhere(bench)
        assert (await bench.job(held)).state is JobState.AVAILABLE
        await bench.client.queue_rate_limit("default", None)
        await bench.reaches(held, JobState.COMPLETED)


async def test_without_the_table_a_rate_in_the_settings_stops_the_start(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    await connection.execute(f"DROP TABLE {schema.table('rivermill_rate')}")
    limits = {"default": RateLimit(1, LONG)}
    client = Client(dsn, schema=schema, workers=counting(Counter()), queues={"default": 5}, rate_limits=limits)
    with pytest.raises(MigrationError, match="migrate up"):
        await client.start()
    await client.stop()
