"""Unique jobs and COPY inserts on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest

from rivermill import Client, InsertOpts, InsertParams, JobState, Middleware, Unique, UniqueConflictError, ValidationError
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.run.support import eventually

BY_ARGS = Unique(by_args=True)


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"
    to: str = ""


@dataclass
class Letter:
    kind: ClassVar[str] = "letter"
    to: str = ""

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(unique=BY_ARGS)


async def test_a_duplicate_gives_the_existing_row(client: Client) -> None:
    first = await client.insert(Mail("a"), unique=BY_ARGS)
    again = await client.insert(Mail("a"), InsertOpts(priority=3), unique=BY_ARGS)
    other = await client.insert(Mail("b"), unique=BY_ARGS)
    assert (first.unique_skipped_as_duplicate, again.unique_skipped_as_duplicate) == (False, True)
    assert (again.job.id, again.job.priority) == (first.job.id, 1)
    assert not other.unique_skipped_as_duplicate
    assert len(first.job.unique_key or b"") == 32
    assert JobState.RETRYABLE in first.job.unique_states
    await client.cancel(first.job.id)
    assert not (await client.insert(Mail("a"), unique=BY_ARGS)).unique_skipped_as_duplicate


class Forgets(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        await inner()


async def test_a_middleware_that_forgets_the_results_costs_no_insert(dsn: str, connection: Connection, schema: Schema) -> None:
    client = Client(dsn, schema=schema, middleware=[Forgets()])
    alone = await client.insert(Mail("alone"))
    fast = await client.insert_many_fast([Mail("fast")])
    async with connection.transaction():
        within = await client.insert(Mail("within"), tx=connection)
    await client.stop()
    assert ([one.job.args["to"] for one in (alone, within)], fast) == (["alone", "within"], 1)
    rows = await connection.fetch(f"SELECT args->>'to' AS mail FROM {schema.table('river_job')} ORDER BY id")
    assert [row["mail"] for row in rows] == ["alone", "fast", "within"]


async def test_results_keep_the_order_of_the_batch(client: Client) -> None:
    held = (await client.insert(Mail("held"), unique=BY_ARGS)).job
    unique = InsertOpts(unique=BY_ARGS)
    results = await client.insert_many(
        [Mail("x"), InsertParams(Mail("new"), unique), InsertParams(Mail("held"), unique), Mail("y"), Letter("z")]
    )
    assert [r.job.args["to"] for r in results] == ["x", "new", "held", "y", "z"]
    assert [r.unique_skipped_as_duplicate for r in results] == [False, False, True, False, False]
    assert results[2].id == held.id
    assert [r.id for r in results] == [r.job.id for r in results]
    assert results[4].job.unique_key is not None


LATER = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
ALIKE = [Mail("a"), Mail("b"), Mail("c")]
MIXED = [
    InsertParams(Mail("a"), InsertOpts(metadata={"x": 1})),
    Mail("b"),
    InsertParams(Mail("c"), InsertOpts(scheduled_at=LATER)),
]


@pytest.mark.parametrize("jobs", [ALIKE, MIXED], ids=["alike", "mixed"])
@pytest.mark.parametrize("changed", [False, True], ids=["plain", "changed by a trigger"])
async def test_results_are_what_the_database_has(
    client: Client, connection: Connection, schema: Schema, jobs: list[Any], changed: bool
) -> None:
    """Of columns that are the same in all rows, the server sends the first one's only."""
    if changed:
        await connection.execute(
            f"""
            CREATE FUNCTION {schema.table("mark")}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.args ->> 'to' <> 'a' THEN
                    NEW.metadata = jsonb_build_object('marked', NEW.args -> 'to');
                    NEW.created_at = NEW.created_at - interval '1 hour';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER mark BEFORE INSERT ON {schema.table("river_job")}
                FOR EACH ROW EXECUTE FUNCTION {schema.table("mark")}();
            """
        )
    results = await client.insert_many(jobs)
    ids = [result.id for result in results]
    assert [result.job for result in results] == [await client.job_get(job_id) for job_id in ids]
    assert [("marked" in (result.job.metadata or {})) for result in results] == [False, changed, changed]


async def test_the_same_key_twice_in_a_batch_is_refused(client: Client) -> None:
    with pytest.raises(ValidationError, match="jobs 1 and 2 of kind 'letter' have the same unique key"):
        await client.insert_many([Mail("a"), Letter("a"), Letter("a")])


async def test_a_duplicate_across_kinds_keeps_the_holders_kind(client: Client) -> None:
    unique = Unique(by_period=timedelta(days=3650), exclude_kind=True)
    await client.insert(Mail("a"), unique=unique)
    second = await client.insert(Letter("b"), unique=unique)
    assert (second.unique_skipped_as_duplicate, second.job.kind) == (True, "mail")


async def test_an_insert_waits_for_an_uncommitted_duplicate(client: Client, connection: Connection) -> None:
    transaction = connection.transaction()
    await transaction.start()
    first = await client.insert(Mail("a"), unique=BY_ARGS, tx=connection)
    waiting = asyncio.create_task(client.insert(Mail("a"), unique=BY_ARGS))
    async with asyncio.timeout(30):
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - a server's lock
            await asyncio.sleep(0.01)
    await transaction.commit()
    assert (await waiting).job.id == first.job.id


async def test_copy_inserts_all_or_nothing(client: Client, connection: Connection, dsn: str, schema: Schema) -> None:
    opts = InsertOpts(priority=3, tags=["abc", "d-e"], metadata={"a": 1}, max_attempts=7)
    assert await client.insert_many_fast([InsertParams(Mail("a"), opts), Letter("b")]) == 2
    copied, letter = (await client.job_list()).jobs
    assert (copied.args, copied.priority, copied.tags, copied.metadata, copied.max_attempts, copied.state) == (
        {"to": "a"}, 3, ("abc", "d-e"), {"a": 1}, 7, JobState.AVAILABLE,
    )  # fmt: skip
    assert letter.unique_key == (await client.insert(Letter("b"))).job.unique_key
    assert letter.unique_states == (await client.insert(Letter("b"))).job.unique_states
    with pytest.raises(UniqueConflictError, match="insert_many skips duplicates"):
        await client.insert_many_fast([Mail("c"), Letter("b")])
    transaction = connection.transaction()
    await transaction.start()
    await client.insert_many_fast([Mail("d")], tx=connection)
    await transaction.rollback()
    assert len((await client.job_list()).jobs) == 2


async def test_copy_notifies(dsn: str, schema: Schema) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(dsn)
    await listener.add_listener(schema.channel("river_insert"), lambda *args: heard.put_nowait(args[-1]))
    client = Client(dsn, schema=schema)
    await client.insert_many_fast([Mail(), Mail()])
    assert await asyncio.wait_for(heard.get(), 10) == '{"queue": "default"}'
    await client.stop()
    await listener.close()


async def test_a_batch_of_several_copies_is_inserted_whole_or_not_at_all(
    client: Client, connection: Connection, schema: Schema
) -> None:
    count = f"SELECT count(*) FROM {schema.table('river_job')}"
    valid, wrong = [Mail(str(number)) for number in range(700)], InsertParams(Mail("x"), InsertOpts(priority=9))
    with pytest.raises(ValidationError, match="priority 9"):
        await client.insert_many_fast([*valid, wrong])
    assert await connection.fetchval(count) == 0
    async with connection.transaction():
        with pytest.raises(ValidationError, match="priority 9"):
            await client.insert_many_fast([*valid, wrong], tx=connection)
        assert await connection.fetchval(count) == 0  # the transaction goes on
    assert await client.insert_many_fast(valid) == 700
    texts = await connection.fetch(f"SELECT args->>'to' AS text FROM {schema.table('river_job')} ORDER BY id")
    assert [record["text"] for record in texts] == [mail.to for mail in valid]


async def test_an_insert_by_copy_that_is_cancelled_leaves_nothing_and_the_client_usable(
    dsn: str, client: Client, connection: Connection, schema: Schema
) -> None:
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'COPY%' AND wait_event_type = 'Lock'"
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {schema.table('river_job')} IN SHARE MODE")
        inserting = asyncio.create_task(client.insert_many_fast([Mail(str(number)) for number in range(700)]))
        watcher = await asyncpg.connect(dsn)  # a transaction sees the activity of its first look only
        await eventually(lambda: watcher.fetchval(copying))
        await watcher.close()
        inserting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await inserting
    assert await client.insert_many_fast([Mail("after")]) == 1
    assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_job')}") == 1
