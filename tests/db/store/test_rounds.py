"""One database is read in rounds for all its JobQueues, over one connection, and in part where it is slow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill_operator.model.observed import QueueProbe
from rivermill_operator.store import reader, statements
from rivermill_operator.store.connection import APPLICATION
from rivermill_operator.store.database import Database, PostgresStore
from rivermill_operator.store.port import StoreError, Usage
from rivermill_operator.store.registry import Stores
from rivermill_operator.store.statements import clients_sql, observe_sql, server_sql
from tests.db.run.support import eventually

Asked = Counter[str]


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn)
    yield database
    await database.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Counts the statements, which run as ever."""
    seen: Asked = Counter()
    fetch = Database.fetch

    async def counted(self: Database, sql: str, *arguments: Any) -> list[Any]:
        seen[sql] += 1
        return await fetch(self, sql, *arguments)

    monkeypatch.setattr(Database, "fetch", counted)
    return seen


async def insert(connection: Connection, schema: Schema, queue: str, jobs: int) -> None:
    await connection.execute(
        f"INSERT INTO {schema.table('river_job')} (kind, args, queue) SELECT 'k', '{{}}', $1 FROM generate_series(1, $2)",
        queue,
        jobs,
    )


async def test_one_round_serves_all_who_ask_together(
    connection: Connection, schema: Schema, database: Database, asked: Asked
) -> None:
    for number in range(20):
        await insert(connection, schema, f"q{number}", number)
    store = PostgresStore(database, schema.name)
    views = await asyncio.gather(*(store.observe([QueueProbe(f"q{n}"), QueueProbe("empty")], [f"pod{n}"]) for n in range(20)))
    assert [[queue.waiting for queue in view.queues] for view in views] == [[n, 0] for n in range(20)]
    assert set(asked.values()) == {1}
    assert {observe_sql(schema.name), clients_sql(schema.name), server_sql()} < set(asked)


async def test_two_connections_a_database_whatever_the_number_of_job_queues(
    dsn: str, connection: Connection, schema: Schema
) -> None:
    woken: set[tuple[str, str]] = set()
    stores = Stores(woken.add)
    keys = [("n", f"q{number}") for number in range(30)]

    async def all_woken() -> bool:
        return woken == set(keys)

    async def open_connections() -> Any:
        return await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", APPLICATION)

    async def none_open() -> bool:
        return not await open_connections()

    try:
        used = [stores.use(key, dsn, Usage("2026", schema.name, frozenset({key[1]}))) for key in keys]
        await eventually(all_woken)  # the listener has begun
        await asyncio.gather(*(store.observe([QueueProbe("q1")], []) for store in used))
        assert await open_connections() == 2
        for key in keys[1:]:
            stores.release(key)
        assert await open_connections() == 2
        stores.release(keys[0])
        await eventually(none_open)
    finally:
        await stores.close()


async def test_a_schema_without_tables_spoils_no_other(connection: Connection, schema: Schema, database: Database) -> None:
    good, bad = PostgresStore(database, schema.name), PostgresStore(database, "nowhere")
    seen, missing = await asyncio.gather(
        good.observe([QueueProbe("a")], []), bad.observe([QueueProbe("a")], []), return_exceptions=True
    )
    assert isinstance(missing, StoreError)
    assert missing.reason == "SchemaMissing"
    assert not isinstance(seen, BaseException)


async def test_a_database_that_is_away_is_asked_once_for_all(asked: Asked) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    answers = await asyncio.gather(
        *(database.observe(f"s{n}", [QueueProbe("a")], []) for n in range(5)), return_exceptions=True
    )
    assert {answer.reason for answer in answers if isinstance(answer, StoreError)} == {"DatabaseUnreachable"}
    assert asked.total() == 1
    await database.close()


async def test_who_gives_up_disturbs_nobody(connection: Connection, schema: Schema, database: Database) -> None:
    store = PostgresStore(database, schema.name)
    impatient, patient = (asyncio.create_task(store.observe([QueueProbe("a")], [])) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).queues[0].name == "a"
    await asyncio.gather(impatient, return_exceptions=True)
    assert impatient.cancelled()


async def test_nobody_waits_for_a_closed_database(schema: Schema, database: Database) -> None:
    store = PostgresStore(database, schema.name)
    waiting = asyncio.create_task(store.observe([QueueProbe("a")], []))
    await asyncio.sleep(0)
    await database.close()
    with pytest.raises(StoreError, match="no longer in use"):
        await waiting
    with pytest.raises(StoreError, match="no longer in use"):
        await store.observe([QueueProbe("a")], [])


@pytest.mark.parametrize(
    ("statement", "degraded"),
    [("flow.arrivals_sql", "arrivals"), ("flow.finished_sql", "durations"), ("statements.observe_sql", "depths")],
)
async def test_a_statement_that_times_out_costs_only_what_it_says(
    connection: Connection, schema: Schema, database: Database, monkeypatch: pytest.MonkeyPatch, statement: str, degraded: str
) -> None:
    store = PostgresStore(database, schema.name)
    await insert(connection, schema, "a", 3)
    probes = [QueueProbe("a"), QueueProbe("b")]
    assert (await store.observe(probes, [])).degraded is None
    original = getattr(statements, statement.partition(".")[2])
    # A wait within the statement, as a busy database would make it.
    late = "WITH late AS MATERIALIZED (SELECT pg_sleep(60)) SELECT found.* FROM late, ({}) AS found"
    monkeypatch.setattr(f"rivermill_operator.store.{statement}", lambda name: late.format(original(name)))
    await database.fetch("SET statement_timeout = 100")
    await insert(connection, schema, "b", 1)
    for _ in range(2):  # the second time it is not even tried
        seen = await store.observe(probes, [])
        assert seen.degraded == degraded
        a, b = seen.queues
        assert (a.waiting, a.oldest_seconds is not None) == (3, True)
        assert (b.waiting, b.oldest_seconds is not None) == (1, True)


async def test_without_the_clients_nothing_is_known(
    connection: Connection, schema: Schema, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(database, schema.name)
    await store.observe([QueueProbe("a")], ["u"])
    monkeypatch.setattr(statements, "clients_sql", lambda _: "SELECT pg_sleep(60), $1::text[]")
    await database.fetch("SET statement_timeout = 100")
    with pytest.raises(StoreError) as caught:
        await store.observe([QueueProbe("a")], ["u"])
    assert caught.value.reason == "StatementTimeout"


async def test_the_server_tells_of_old_snapshots_and_connections(
    dsn: str, connection: Connection, schema: Schema, database: Database
) -> None:
    store = PostgresStore(database, schema.name)
    before = (await store.observe([QueueProbe("a")], [])).server
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction(isolation="repeatable_read"):
            await other.fetchval("SELECT 1")
            for _ in range(5):
                await insert(connection, schema, "a", 1)
            after = (await store.observe([QueueProbe("a")], [])).server
    finally:
        await other.close()
    assert after.xmin_age >= 5
    assert after.connections_used == before.connections_used + 1
    assert after.connections_limit == before.connections_limit
    assert (after.connections_limit or 0) > after.connections_used


@pytest.mark.parametrize(
    ("metadata", "limit"),
    [
        ("{}", None),
        ('{"concurrency": {"global_limit": 7}}', 7),
        ('{"concurrency": {"global_limit": 7, "partition": {}}}', 7),
        ('{"concurrency": {"global_limit": 7, "partition": {"by_kind": true}}}', None),
        ('{"concurrency": {"global_limit": 0}}', None),
        ('{"concurrency": {"global_limit": "many"}}', None),
        ('{"concurrency": {"global_limit": 1e300}}', None),
        ('{"concurrency": 3}', None),
    ],
)
async def test_a_queue_tells_of_its_concurrency_limit(
    connection: Connection, schema: Schema, database: Database, metadata: str, limit: int | None
) -> None:
    await connection.execute(
        f"INSERT INTO {schema.table('river_queue')} (name, metadata, updated_at, paused_at) VALUES ('a', $1, now(), now())",
        metadata,
    )
    a, b = (await PostgresStore(database, schema.name).observe([QueueProbe("a"), QueueProbe("b")], [])).queues
    assert (a.concurrency_limit, a.paused) == (limit, True)
    assert (b.concurrency_limit, b.paused) == (None, False)


async def test_a_client_whose_clock_is_fast_hides_no_durations(
    connection: Connection, schema: Schema, database: Database
) -> None:
    store = PostgresStore(database, schema.name)
    insert_ended = (
        f"INSERT INTO {schema.table('river_job')} (kind, args, queue, state, attempted_at, finalized_at) "
        "SELECT 'k', '{}', 'a', 'completed', t.ended - interval '4 s', t.ended FROM (SELECT now() + $1::interval AS ended) AS t"
    )
    for ahead, known in ((timedelta(hours=1), 0), (timedelta(), 1), (timedelta(hours=1), 1), (timedelta(), 2)):
        await connection.execute(insert_ended, ahead)
        assert (await store.observe([QueueProbe("a")], [])).queues[0].finished.jobs == known


@pytest.mark.parametrize(
    ("metadata", "rate"),
    [
        ("{}", None),
        ('{"rate_limit": {"limit": 7, "period_seconds": 2}}', 3.5),
        ('{"rate_limit": {"limit": 7, "period_seconds": 0.5, "partition": {}}}', 14.0),
        ('{"rate_limit": {"limit": 7, "period_seconds": 2, "partition": {"by_kind": true}}}', None),
        ('{"rate_limit": {"limit": 7, "period_seconds": 0}}', None),
        ('{"rate_limit": {"limit": 7}}', None),
        ('{"rate_limit": {"limit": "many", "period_seconds": 2}}', None),
        ('{"rate_limit": {"limit": 1, "period_seconds": 1e300}}', None),
        ('{"rate_limit": 3}', None),
    ],
)
async def test_a_queue_tells_of_its_rate_limit(
    connection: Connection, schema: Schema, database: Database, metadata: str, rate: float | None
) -> None:
    await connection.execute(
        f"INSERT INTO {schema.table('river_queue')} (name, metadata, updated_at) VALUES ('a', $1, now())", metadata
    )
    (a,) = (await PostgresStore(database, schema.name).observe([QueueProbe("a")], [])).queues
    assert a.rate_limit == rate


@pytest.mark.parametrize(
    ("depth", "seconds", "after"),
    [(100_000, 0.2, 50_000), (1_500, 0.2, 1_001), (1_001, 9.0, 1_001), (4_000, 0.03, 4_000), (4_000, 0.001, 8_000),
     (80_000, 0.001, 100_000)],
)  # fmt: skip
def test_a_slow_count_is_made_less_deep(depth: int, seconds: float, after: int) -> None:
    assert reader.adapt_depth(depth, seconds) == after
