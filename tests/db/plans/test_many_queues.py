"""Claims from many queues at once: what they bring, lock and read."""

from __future__ import annotations

from collections import Counter

import asyncpg
import pytest

from rivermill.claims import claim_many_sql, due_queues_sql
from rivermill.db import Connection
from rivermill.schema import Schema
from tests.db.plans.explained import BATCH, CLIENT, check, nodes, plan

QUEUES = [f"queue_{number}" for number in range(1_000)]
EACH = 3
INDEXES = {"river_job_prioritized_fetching_index", "river_job_pkey"}
#: Pages of the index that are read to find out that a queue has no job, and one to spare.
DESCENT = 4


@pytest.fixture
async def filled(connection: Connection, aged: Schema) -> Schema:
    """Some jobs in each of many queues, which came after the statistics were taken."""
    await connection.execute(
        f"INSERT INTO {aged.table('river_job')} (kind, args, queue, priority) "
        f"SELECT 'todo', '{{}}', queue, 1 + n % 2 FROM unnest($1::text[]) AS queue, generate_series(1, {EACH}) AS n",
        QUEUES,
    )
    return aged


async def test_a_claim_from_many_queues_walks_the_fetching_index_and_the_key(connection: Connection, filled: Schema) -> None:
    root = await plan(connection, claim_many_sql(filled), QUEUES, [EACH] * len(QUEUES), CLIENT, 10_000)
    check(root, INDEXES, 100 * EACH * len(QUEUES))
    assert root["Actual Rows"] == EACH * len(QUEUES)
    assert [node for node in nodes(root) if "Sort" in node["Node Type"]] == []


async def test_it_looks_no_further_than_it_has_to(connection: Connection, filled: Schema) -> None:
    root = await plan(connection, claim_many_sql(filled), QUEUES, [1] * len(QUEUES), CLIENT, BATCH)
    check(root, INDEXES, 100 * BATCH)
    (walk,) = (node for node in nodes(root) if node.get("Index Name") == "river_job_prioritized_fetching_index")
    assert (root["Actual Rows"], walk["Actual Loops"]) == (BATCH, BATCH)


@pytest.mark.parametrize("kinds", [None, ["todo"], ["nothing"]], ids=["all-kinds", "known-kinds", "unknown-kinds"])
async def test_queues_without_a_job_cost_a_descent_each(connection: Connection, aged: Schema, kinds: list[str] | None) -> None:
    known, more = kinds is not None, [] if kinds is None else [kinds]
    root = await plan(connection, claim_many_sql(aged, known_kinds=known), QUEUES, [1] * len(QUEUES), CLIENT, BATCH, *more)
    check(root, INDEXES, DESCENT * len(QUEUES))
    root = await plan(connection, due_queues_sql(aged, known_kinds=known), QUEUES, *more)
    check(root, {"river_job_prioritized_fetching_index"}, DESCENT * len(QUEUES))
    assert root["Actual Rows"] == 0


async def test_a_look_for_due_jobs_reads_an_entry_of_each_queue(connection: Connection, filled: Schema) -> None:
    root = await plan(connection, due_queues_sql(filled), [*QUEUES, "empty"])
    check(root, {"river_job_prioritized_fetching_index"}, (DESCENT + 1) * len(QUEUES))
    assert root["Actual Rows"] == len(QUEUES)
    rows = await connection.fetch(due_queues_sql(filled), ["queue_1", "empty", "queue_0"])
    assert {row["queue"] for row in rows} == {"queue_0", "queue_1"}


async def test_each_queue_gives_its_first_jobs_up_to_its_own_limit_and_that_of_all(
    connection: Connection, filled: Schema
) -> None:
    wanted = {"queue_5": 2, "empty": 7, "queue_3": 9, "queue_1": 1, "queue_2": 3}
    records = await connection.fetch(claim_many_sql(filled), list(wanted), list(wanted.values()), CLIENT, 7)
    assert Counter(record["queue"] for record in records) == {"queue_5": 2, "queue_3": 3, "queue_1": 1, "queue_2": 1}
    # Of priorities 2, 1, 2 the first jobs are the second and then the oldest.
    assert sorted(record["priority"] for record in records if record["queue"] == "queue_5") == [1, 2]
    assert [record["priority"] for record in records if record["queue"] in ("queue_1", "queue_2")] == [1, 1]
    assert {record["attempt"] for record in records} == {1}


async def test_two_clients_get_different_jobs_and_lock_no_others(dsn: str, connection: Connection, filled: Schema) -> None:
    names, other = QUEUES[:20], await asyncpg.connect(dsn)
    async with connection.transaction():
        mine = await connection.fetch(claim_many_sql(filled), names, [1] * 20, CLIENT, 5)
        theirs = await other.fetch(claim_many_sql(filled), names, [EACH] * 20, "other", 1_000)
    await other.close()
    assert len(mine) == 5
    assert len(theirs) == EACH * 20 - 5
    assert {record["id"] for record in mine}.isdisjoint(record["id"] for record in theirs)


async def test_jobs_that_are_not_due_stay(connection: Connection, filled: Schema) -> None:
    table = filled.table("river_job")
    await connection.execute(f"UPDATE {table} SET scheduled_at = now() + interval '1 hour' WHERE queue = 'queue_0'")
    await connection.execute(f"UPDATE {table} SET kind = 'other' WHERE queue = 'queue_1'")
    sql = claim_many_sql(filled, known_kinds=True)
    records = await connection.fetch(sql, QUEUES[:3], [9] * 3, CLIENT, 100, ["todo"])
    assert {record["queue"] for record in records} == {"queue_2"}
    rows = await connection.fetch(due_queues_sql(filled, known_kinds=True), QUEUES[:4], ["todo"])
    assert {row["queue"] for row in rows} == {"queue_3"}
