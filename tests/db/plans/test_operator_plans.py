"""Cached plans of the operator's statements on a big table whose statistics are old: nothing scans it, whatever the size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill_operator.store import statements
from tests.db.plans.explained import blocks, nodes, plan, plan_with_values

WAITING, RUNNING, LATER, CLIENTS, BOUND = 2_000, 50, 200, 20, 1_002
FETCHING, KEY = "river_job_prioritized_fetching_index", "river_job_pkey"
FINALIZED, CLIENT_KEY = "river_job_state_and_finalized_at_index", "rivermill_client_pkey"
SIZES = [50_000, pytest.param(1_000_000, marks=pytest.mark.long)]

#: statement → its arguments, the indexes on jobs that it may use, and the most blocks that it may touch.
STATEMENTS: dict[str, tuple[Callable[[str], str], tuple[Any, ...], set[str], int]] = {
    "depths": (statements.observe_sql, (["default", "other"], [BOUND, BOUND], [60.0, 60.0]), {FETCHING}, 4_000),
    "oldest": (statements.oldest_sql, (["default", "other"],), {FETCHING}, 100),
    "last id": (statements.last_id_sql, (), {KEY}, 20),
    "clients": (statements.clients_sql, ([f"uid{n}" for n in range(CLIENTS)],), {FETCHING}, 1_000),
    "first durations": (statements.finished_sql, (None, 1_000), {FINALIZED}, 3_000),
    "new durations": (statements.finished_sql, (datetime.now(UTC) - timedelta(minutes=1), 1_000), {FINALIZED}, 3_000),
}


@pytest.fixture(params=SIZES, ids=str)
async def aged(request: pytest.FixtureRequest, connection: Connection, schema: Schema) -> tuple[Schema, int]:
    """Finished jobs, statistics of these alone, and everything else that came afterwards."""
    table, client, finished = schema.table("river_job"), schema.table("rivermill_client"), request.param
    await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    await connection.execute(
        f"INSERT INTO {table} (kind, args, state, attempted_at, finalized_at, attempt, attempted_by) "
        "SELECT 'done', '{}', 'completed', now() - n * interval '1 s', now() - n * interval '1 s', 1, ARRAY['gone'] "
        f"FROM generate_series(1, {finished}) AS n",
        timeout=300,
    )
    await connection.execute(f"ANALYZE {table}; ANALYZE {client}")
    for state, jobs, more in (
        ("available", WAITING, "NULL, NULL, now()"),
        ("running", RUNNING, "now(), ARRAY['c' || (n % 20)], now()"),
        ("scheduled", LATER, "NULL, NULL, now() + n * interval '1 s'"),
        ("retryable", LATER, "NULL, NULL, now() + n * interval '1 s'"),
    ):
        await connection.execute(
            f"INSERT INTO {table} (kind, args, state, attempted_at, attempted_by, scheduled_at) "
            f"SELECT 'todo', '{{}}', '{state}', {more} FROM generate_series(1, {jobs}) AS n"
        )
    await connection.execute(
        f"INSERT INTO {client} (client_id, pod_uid, host, pid, version, queues, slots) "
        f"SELECT 'c' || n, 'uid' || n, 'h', 1, '1', '{{}}', 5 FROM generate_series(0, {CLIENTS - 1}) AS n"
    )
    return schema, finished


def jobs_indexes(root: dict[str, Any]) -> set[str]:
    """The indexes on jobs that were used, and the whole table's name where it was scanned."""
    return {
        node.get("Index Name", "scan of " + node["Relation Name"]) if node["Node Type"] != "Bitmap Heap Scan" else ""
        for node in nodes(root)
        if node.get("Relation Name") == "river_job" or node.get("Index Name", "").startswith("river_job")
    } - {""}


def check(root: dict[str, Any], indexes: set[str], most_blocks: int) -> None:
    assert jobs_indexes(root) == indexes
    assert blocks(root) <= most_blocks


async def test_no_statement_scans_the_jobs(connection: Connection, aged: tuple[Schema, int]) -> None:
    schema, _ = aged
    for name, (build, arguments, indexes, most_blocks) in STATEMENTS.items():
        # Its connections plan for the values; where a pooler ignores that setting they come to the other plan.
        for execute in (plan_with_values, plan):
            root = await execute(connection, build(schema.name), *arguments)
            assert jobs_indexes(root) == indexes, name
            assert blocks(root) <= most_blocks, name


async def test_arrivals_are_found_by_key(connection: Connection, aged: tuple[Schema, int]) -> None:
    schema, finished = aged
    root = await plan(connection, statements.arrivals_sql(schema.name), finished, 20_000)
    check(root, {KEY}, 500)
    root = await plan(connection, statements.arrivals_sql(schema.name), finished + WAITING + RUNNING + 2 * LATER, 20_000)
    check(root, {KEY}, 20)


@pytest.mark.parametrize(
    "execute",
    [
        lambda c, s: plan(c, statements.want_sql(s), "cordoned", ["c1", "c2"], f"{s}.rivermill_control", "{}"),
        lambda c, s: plan(c, statements.bury_sql(s), ["c1", "c2"], timedelta(seconds=12)),
    ],
    ids=["want", "bury"],
)
async def test_clients_are_told_without_a_look_at_jobs(
    connection: Connection, aged: tuple[Schema, int], execute: Callable[[Connection, str], Awaitable[dict[str, Any]]]
) -> None:
    root = await execute(connection, aged[0].name)
    assert not jobs_indexes(root)
    assert blocks(root) <= 100


async def test_the_check_sees_a_scan(connection: Connection, aged: tuple[Schema, int]) -> None:
    root = await plan(connection, f"SELECT count(*) FROM {aged[0].table('river_job')}")
    assert jobs_indexes(root) != {FETCHING}
