"""Plans of lists and deletes, made for their values: what they read, and that users get them however often they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from rivermill import JobFilter, JobListCursor, JobListOrder, JobListParams, JobState
from rivermill.db import Connection
from rivermill.jobs import JobAdmin, delete_many_statement
from rivermill.rows import job_columns
from rivermill.schema import Schema
from rivermill.transactions import connection_of
from tests.db.plans.explained import BATCH, FINISHED, check, plan_with_values

NOW = datetime.now(UTC)
LISTS = {
    "all": ({}, "river_job_pkey", BATCH),
    "a later page": ({"after": JobListCursor(FINISHED, "", "", JobListOrder.ID, None)}, "river_job_pkey", BATCH),
    "ids": ({"ids": [1, FINISHED + 1]}, "river_job_pkey", 2),
    "kind": ({"kinds": ["todo"]}, "river_job_kind", BATCH),
    "waiting": ({"states": [JobState.AVAILABLE]}, "river_job_prioritized_fetching_index", BATCH),
    "no running": ({"states": [JobState.RUNNING]}, "river_job_prioritized_fetching_index", 0),
    "queue": ({"queues": ["other"]}, "river_job_prioritized_fetching_index", 0),
    "waiting by time": (
        {"states": [JobState.AVAILABLE], "order_by": JobListOrder.TIME},
        "river_job_prioritized_fetching_index",
        BATCH,
    ),
    "finished by time": (
        {"states": [JobState.COMPLETED], "order_by": JobListOrder.TIME, "descending": True},
        "river_job_state_and_finalized_at_index",
        BATCH,
    ),
    "a later page of finished": (
        {
            "states": [JobState.COMPLETED],
            "order_by": JobListOrder.FINALIZED_AT,
            "after": JobListCursor(1, "", "", JobListOrder.FINALIZED_AT, NOW.replace(year=NOW.year - 1)),
        },
        "river_job_state_and_finalized_at_index",
        BATCH,
    ),
    "metadata": ({"metadata": {"output": 1}}, "river_job_metadata_index", 0),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_reads_little_more_than_its_page(connection: Connection, aged: Schema, name: str) -> None:
    filters, index, rows = LISTS[name]
    sql, values = JobListParams(**filters).statement(aged, job_columns())
    root = await plan_with_values(connection, sql, *values)
    check(root, {index}, 3 * BATCH, walks=not filters)
    assert root["Actual Rows"] == rows


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"ids": [1, FINISHED + 1]}, "river_job_pkey"),
        ({"kinds": ["todo"]}, "river_job_kind"),
        ({"states": [JobState.AVAILABLE]}, "river_job_prioritized_fetching_index"),
        ({"states": [JobState.COMPLETED]}, "river_job_pkey"),
        ({"queues": ["other"]}, "river_job_prioritized_fetching_index"),
        ({}, "river_job_pkey"),
    ],
    ids=str,
)
async def test_deleting_many_finds_its_rows_by_an_index(
    connection: Connection, aged: Schema, filters: dict[str, Any], index: str
) -> None:
    sql, values = delete_many_statement(aged, JobFilter(**filters), BATCH)
    root = await plan_with_values(connection, sql, *values)
    # The keys of jobs of a state that nearly all have are walked until there are enough.
    check(root, {index, "river_job_pkey"}, 100 * BATCH, walks=index == "river_job_pkey")


@pytest.fixture(params=["asyncpg", "psycopg"])
async def given(request: pytest.FixtureRequest, dsn: str, connection: Connection) -> AsyncIterator[Connection]:
    """What statements run on: a connection of the client's own kind, and one of a caller's, both as they are by default."""
    if request.param == "asyncpg":
        yield connection
        return
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
        yield await connection_of(other)


async def rows_read(connection: Connection, schema: Schema, call: Callable[[], Awaitable[Any]]) -> int:
    """Rows of jobs that the server has looked at for a call, as it counts them within a transaction."""
    sql = (
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables "
        "WHERE schemaname = $1::text AND relname = 'river_job'"
    )
    async with connection.transaction():
        before = await connection.fetchrow(sql, schema.name)
        await call()
        after = await connection.fetchrow(sql, schema.name)
    return int(after["rows"]) - int(before["rows"])


COMMON, RARE = ["done"], ["todo"]
OFTEN = 12


async def test_lists_of_a_common_kind_do_not_spoil_those_of_a_rare_one(aged: Schema, given: Connection) -> None:
    jobs = JobAdmin(aged)
    for _ in range(OFTEN):
        assert len((await jobs.page(given, JobListParams(kinds=COMMON, limit=10_000))).jobs) == 10_000

    async def rare() -> None:
        assert len((await jobs.page(given, JobListParams(kinds=RARE, limit=BATCH))).jobs) == BATCH

    assert await rows_read(given, aged, rare) <= 3_000


async def test_deletes_of_a_common_kind_do_not_spoil_those_of_a_rare_one(aged: Schema, connection: Connection) -> None:
    jobs = JobAdmin(aged)
    for _ in range(OFTEN // 2):
        transaction = connection.transaction()
        await transaction.start()
        assert len(await jobs.delete_many(connection, JobFilter(kinds=COMMON), limit=10_000, everything=False)) == 10_000
        await transaction.rollback()

    async def rare() -> None:
        assert len(await jobs.delete_many(connection, JobFilter(kinds=RARE), limit=BATCH, everything=False)) == BATCH

    assert await rows_read(connection, aged, rare) <= 5_000


async def test_a_prepared_list_would_be_spoilt(aged: Schema, connection: Connection) -> None:
    async def page(kinds: list[str], limit: int) -> None:
        sql, values = JobListParams(kinds=kinds, limit=limit).statement(aged, job_columns())
        assert len(await connection.fetch(sql, *values)) == limit

    for _ in range(OFTEN):
        await page(COMMON, 10_000)
    assert await rows_read(connection, aged, lambda: page(RARE, BATCH)) >= FINISHED
