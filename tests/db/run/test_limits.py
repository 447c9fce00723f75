"""Never one job more than a queue's limits allow, however many clients claim."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from rivermill import Client, Concurrency, InsertOpts, InsertParams, Job, JobState, NotFoundError, RateLimit, Workers
from rivermill.db import Connection
from rivermill.limited_claim import LimitedClaim
from rivermill.schema import Schema
from tests.db.run.support import Bench, Note, eventually, waits_for_lock, working


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"
    to: str = ""
    number: int = 0


class Watch:
    """Workers that note how many of what run at once."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.runs: Counter[int] = Counter()

    def workers(self, client: str) -> Workers:
        workers = Workers()

        async def run(job: Job[Any], *parts: str) -> None:
            self.runs[job.id] += 1
            for part in ("all", client, job.kind, *parts):
                self.now[part] += 1
                self.most[part] = max(self.most[part], self.now[part])
            await asyncio.sleep(0.005)
            for part in ("all", client, job.kind, *parts):
                self.now[part] -= 1

        @workers.work
        async def mail(job: Job[Mail]) -> None:
            await run(job, f"to {job.args.to}")

        @workers.work
        async def note(job: Job[Note]) -> None:
            await run(job)

        return workers


@pytest.mark.parametrize(
    ("concurrency", "most"),
    [
        (Concurrency(3), {"all": 3}),
        (Concurrency(3, 2), {"all": 3, "one": 2, "two": 2}),
        (Concurrency(local_limit=2), {"one": 2, "two": 2}),
        (Concurrency(2, by_kind=True), {"mail": 2, "note": 2}),
        (Concurrency(1, by_args=["to"]), {"to a": 1, "to b": 1}),
    ],
    ids=["global", "both", "local", "by-kind", "by-args"],
)
async def test_two_clients_stay_within_the_limits(
    dsn: str, connection: Connection, schema: Schema, concurrency: Concurrency, most: dict[str, int]
) -> None:
    watch = Watch()
    async with (
        working(dsn, connection, schema, watch.workers("one"), client_id="one", queues={"default": 20}) as bench,
        working(dsn, connection, schema, watch.workers("two"), client_id="two", queues={"default": 20}) as other,
    ):
        await bench.client.queue_limit("default", concurrency)
        await eventually(lambda: _limited(bench, other))
        jobs = [InsertParams(Mail("ab"[i % 2], i) if i % 3 else Note(str(i))) for i in range(120)]
        await bench.client.insert_many(jobs)
        await bench.completes(120)
    assert set(watch.runs.values()) == {1}
    assert {part: watch.most[part] for part in most if watch.most[part] > most[part]} == {}


async def _limited(*benches: Bench) -> bool:
    states = [bench.client._runtime._producer._queues["default"] for bench in benches if bench.client._runtime]
    return all(state.limited for state in states)


async def test_a_limit_holds_from_the_start_and_can_be_ended(dsn: str, connection: Connection, schema: Schema) -> None:
    watch = Watch()
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name, metadata) VALUES ('default', '{{\"own\": 1}}')")
    async with Client(dsn, schema=schema) as client:
        limited = await client.queue_limit("default", Concurrency(1))
        assert set(limited.metadata) == {"own", "concurrency"}
        await client.insert_many([Note(str(i)) for i in range(20)])
        with pytest.raises(NotFoundError):
            await client.queue_limit("nobody", None)
    async with working(dsn, connection, schema, watch.workers("one")) as bench:
        await bench.completes(20)
        assert watch.most["all"] == 1
        assert (await bench.client.queue_limit("default", None)).metadata == {"own": 1}
        await eventually(lambda: _unlimited(bench))
        await bench.client.insert_many([Note(str(i)) for i in range(50)])
        await bench.completes(70)
    assert watch.most["all"] > 1


async def test_limits_of_the_settings_hold_from_the_first_claim(dsn: str, connection: Connection, schema: Schema) -> None:
    watch, table = Watch(), schema.table("river_queue")
    await connection.execute(f"INSERT INTO {table} (name, metadata) VALUES ('default', '{{\"own\": 1}}')")
    limits: dict[str, Any] = {
        "concurrency_limits": {"default": Concurrency(1), "later": Concurrency(2, by_args=["to"])},
        "rate_limits": {"later": RateLimit(1000, timedelta(hours=1))},
    }
    async with Client(dsn, schema=schema) as client:
        await client.insert_many([Note(str(i)) for i in range(20)])
        async with working(dsn, connection, schema, watch.workers("one"), **limits) as bench:
            await bench.completes(20)
            assert watch.most["all"] == 1
            assert set((await client.queue_get("default")).metadata) == {"own", "concurrency"}
            await bench.client.queues.add("later", 10)
            later = (await client.queue_get("later")).metadata
            assert later == {
                "concurrency": limits["concurrency_limits"]["later"].to_metadata(),
                "rate_limit": limits["rate_limits"]["later"].to_metadata(),
            }
            await client.queue_limit("default", Concurrency(7))
        heard: list[Any] = []
        await connection.add_listener(schema.channel("river_control"), lambda *said: heard.append(said[-1]))
        for name, changes in (("two", 1), ("three", 1)):  # what is so already is not written again
            async with working(dsn, connection, schema, watch.workers(name), **limits):
                assert (await client.queue_get("default")).metadata["concurrency"]["global_limit"] == 1
                assert await connection.fetchval("SELECT 1")
                assert len([said for said in heard if "metadata_changed" in said]) == changes


async def _unlimited(bench: Bench) -> bool:
    return not await _limited(bench)


async def test_a_claim_counts_what_was_claimed_while_it_waited(
    connection: Connection, other: Connection, dsn: str, schema: Schema
) -> None:
    """The proof: the second claim begins before the first has committed, and yet counts what that took."""
    async with Client(dsn, schema=schema) as client:
        await client.insert_many([Note(str(i)) for i in range(10)])
        await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('default')")
        await client.queue_limit("default", Concurrency(3))
    first, second = LimitedClaim(schema, "first", None), LimitedClaim(schema, "second", None)
    transaction = connection.transaction()
    await transaction.start()
    assert len((await first.fetch(connection, "default", 2)).records) == 2
    waiting = asyncio.create_task(second.fetch(other, "default", 5))
    await waits_for_lock(dsn, other)
    assert not waiting.done()
    await transaction.commit()
    assert len((await waiting).records) == 1
    assert (await second.fetch(other, "default", 5)).records == []


async def test_full_parts_are_passed_over(connection: Connection, dsn: str, schema: Schema) -> None:
    async with Client(dsn, schema=schema) as client:
        await client.insert_many([Mail("busy", i) for i in range(1500)])
        rest = await client.insert_many([InsertParams(Mail("idle"), InsertOpts(priority=4)), Note("other")])
        await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name) VALUES ('default')")
        await client.queue_limit("default", Concurrency(2, by_args=["to"]))
    claim = LimitedClaim(schema, "me", None)
    assert len((await claim.fetch(connection, "default", 10)).records) == 2
    # Those beyond the window have their turn once the part before them is full.
    found = {record["id"] for record in (await claim.fetch(connection, "default", 10)).records}
    assert found == {result.job.id for result in rest}
    known = LimitedClaim(schema, "me", ["note"])
    await connection.execute(f"UPDATE {schema.table('river_job')} SET state = 'available' WHERE state = 'running'")
    assert [record["kind"] for record in (await known.fetch(connection, "default", 10)).records] == ["note"]
    rows = await connection.fetch(f"SELECT state::text FROM {schema.table('river_job')} WHERE kind = 'note'")
    assert [row["state"] for row in rows] == [JobState.RUNNING]
