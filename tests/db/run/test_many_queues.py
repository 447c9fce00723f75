"""One client with many queues: few statements, and to each queue what is its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from rivermill import Client, EventKind, InsertOpts, InsertParams, Job, QueueConfig, Workers
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import Bench, Claims, Note, eventually, working

NAMES = [f"queue_{number}" for number in range(300)]


class Watch:
    """A worker that notes what runs, and how many at once; jobs end when the gate is open."""

    def __init__(self, workers: Workers, seconds: float = 0.0) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.runs: Counter[int] = Counter()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

        @workers.work
        async def work(job: Job[Note]) -> None:
            self.runs[job.id] += 1
            for part in ("all", job.args.text):
                self.now[part] += 1
                self.most[part] = max(self.most[part], self.now[part])
            await asyncio.sleep(seconds)
            await self.gate.wait()
            for part in ("all", job.args.text):
                self.now[part] -= 1


async def fill(dsn: str, schema: Schema, names: list[str], each: int) -> int:
    """Insert jobs in turn over the queues, each of which says in its args where it is; returns how many."""
    async with Client(dsn, schema=schema) as client:
        await client.insert_many([InsertParams(Note(name), InsertOpts(queue=name)) for _ in range(each) for name in names])
    return len(names) * each


def claims(bench: Bench) -> int:
    """Claims so far, however many queues each was for."""
    runtime = bench.client._runtime
    assert runtime is not None
    return int(runtime.metrics.registry.get_sample_value("rivermill_claim_seconds_count") or 0)


async def test_jobs_of_many_queues_are_claimed_by_few_statements(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch, count = Watch(workers), await fill(dsn, schema, NAMES, 5)
    seconds, began = 0.1, time.monotonic()
    queues = dict.fromkeys(NAMES, QueueConfig(5, fetch_cooldown=timedelta(seconds=seconds)))
    async with working(dsn, connection, schema, workers, queues=queues, slots=count) as bench:
        await bench.completes(count)
        # Those that are due at once, where there is room for a quarter of all slots, and those that wait for the cooldown.
        assert claims(bench) <= 10 + (time.monotonic() - began) / seconds
    assert len(watch.runs) == count
    assert set(watch.runs.values()) == {1}


async def test_fewer_slots_than_queues_are_all_used_and_never_more(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch, names = Watch(workers), NAMES[:100]
    count = await fill(dsn, schema, names[:3], 40)
    watch.gate.clear()
    queues = {name: QueueConfig(2, poll_interval=timedelta(hours=1)) for name in names}
    async with working(dsn, connection, schema, workers, queues=queues, slots=5) as bench:
        await eventually(lambda: asyncio.sleep(0, watch.now["all"] == 5))
        watch.gate.set()
        await bench.completes(count)
    assert set(watch.runs.values()) == {1}
    assert {part: most for part, most in watch.most.items() if most > (5 if part == "all" else 2)} == {}


async def test_idle_queues_are_polled_together(dsn: str, connection: Connection, schema: Schema, workers: Workers) -> None:
    Watch(workers)
    queues = dict.fromkeys(NAMES, QueueConfig(1, poll_interval=timedelta(seconds=0.2)))
    async with working(dsn, connection, schema, workers, queues=queues, slots=10, poll_only=True) as bench:
        before, began = claims(bench), time.monotonic()
        # Polls that were spread out, too, come together.
        await fill(dsn, schema, NAMES[::10], 1)
        await bench.completes(len(NAMES[::10]))
        await asyncio.sleep(1.0)
        polls = (time.monotonic() - began) / 0.1
        assert claims(bench) - before <= polls + 2 * len(NAMES[::10])


async def test_a_paused_queue_among_many_is_left_alone_and_then_worked(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch, names = Watch(workers), NAMES[:20]
    async with working(dsn, connection, schema, workers, queues=dict.fromkeys(names, 2)) as bench:
        with bench.client.subscribe([EventKind.QUEUE_PAUSED]) as paused:
            await bench.client.queue_pause(names[7])
            assert (await asyncio.wait_for(anext(paused), 20)).queue == names[7]
        count = await fill(dsn, schema, names, 3)
        await bench.completes(count - 3)
        assert watch.most[names[7]] == 0
        await bench.client.queue_resume(names[7])
        await bench.completes(count)
    assert set(watch.runs.values()) == {1}


@dataclass
class Unknown:
    kind: ClassVar[str] = "unknown"


async def test_kinds_that_are_not_known_are_left_in_each_queue(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch, names = Watch(workers), NAMES[:20]
    async with Client(dsn, schema=schema) as client:
        await client.insert_many([InsertParams(Unknown(), InsertOpts(queue=name)) for name in names])
    count = await fill(dsn, schema, names, 2)
    queues = dict.fromkeys(names, 2)
    async with working(dsn, connection, schema, workers, queues=queues, fetch_only_known_kinds=True) as bench:
        await bench.completes(count)
    assert len(watch.runs) == count
    left = f"SELECT count(*) FROM {schema.table('river_job')} WHERE kind = 'unknown' AND state = 'available' AND attempt = 0"
    assert await connection.fetchval(left) == len(names)


async def test_limited_queues_without_a_job_are_not_claimed_from(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch, names, hook = Watch(workers, 0.005), NAMES[:20], Claims()
    await connection.execute(
        f"INSERT INTO {schema.table('river_queue')} (name, updated_at, metadata) "
        "SELECT name, now(), $2::text::jsonb FROM unnest($1::text[]) AS name",
        names,
        json.dumps({"concurrency": {"global_limit": 1, "local_limit": 0, "partition": {}}}),
    )
    queues = dict.fromkeys(names, QueueConfig(5, poll_interval=timedelta(seconds=0.1)))
    count = await fill(dsn, schema, names[3:6], 4)
    async with working(dsn, connection, schema, workers, queues=queues, hooks=[hook], poll_only=True) as bench:
        await bench.completes(count)
        await asyncio.sleep(0.3)
    assert set(watch.runs.values()) == {1}
    assert {part for part, most in watch.most.items() if most > 1} <= {"all"}
    assert set(hook.made) == set(names[3:6])


async def test_what_many_queues_are_told_of_is_worked_without_polls(
    dsn: str, connection: Connection, schema: Schema, workers: Workers
) -> None:
    watch = Watch(workers)
    queues = dict.fromkeys(NAMES, QueueConfig(1, poll_interval=timedelta(hours=1)))
    async with working(dsn, connection, schema, workers, queues=queues, slots=3) as bench:
        for round_ in range(1, 4):
            await fill(dsn, schema, NAMES, 1)
            await bench.completes(round_ * len(NAMES))
    assert set(watch.runs.values()) == {1}
