"""Cached plans of the hot statements, on a big table whose statistics are old: nothing may scan it or walk dead entries.

PostgreSQL plans a prepared statement anew only when it thinks that worth its while, so what counts is the generic plan.
Statistics are taken when nearly all jobs are finished, none is running, and are not renewed when that changes.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from rivermill.claims import claim_sql, return_lost_sql
from rivermill.completions import general_sql, plain_sql
from rivermill.control_poll import cancelled_sql
from rivermill.db import Connection
from rivermill.limited_claim import limited_sql, rated_sql
from rivermill.maintenance.rescuer import stuck_sql
from rivermill.schema import Schema
from rivermill.sequences import advance_sql, begin_sql, find_sql, lock_sql
from tests.db.plans.explained import BATCH, CLIENT, blocks, check, nodes, plan


async def claim(connection: Connection, schema: Schema, count: int) -> list[int]:
    return [record["id"] for record in await connection.fetch(claim_sql(schema), "default", count, CLIENT)]


async def test_a_claim_walks_the_fetching_index_and_the_key(connection: Connection, aged: Schema) -> None:
    root = await plan(connection, claim_sql(aged), "default", BATCH, CLIENT)
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey"}, 100 * BATCH)
    assert root["Actual Rows"] == BATCH


async def test_a_claim_of_known_kinds_does_not_walk_all_jobs_of_these_kinds(connection: Connection, aged: Schema) -> None:
    root = await plan(connection, claim_sql(aged, known_kinds=True), "default", BATCH, CLIENT, ["todo", "done"])
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey"}, 100 * BATCH)
    limits = (2 * BATCH, 2 * BATCH, True, None)
    root = await plan(connection, limited_sql(aged, known_kinds=True), "default", BATCH, CLIENT, ["todo", "done"], *limits)
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey"}, 100 * BATCH)


@pytest.mark.parametrize("general", [False, True], ids=["plain", "general"])
async def test_completions_find_their_rows_by_key(connection: Connection, aged: Schema, general: bool) -> None:
    ages = [0.0] * BATCH
    # Entries of jobs that were running and are not any more stay in the index on state until a vacuum.
    for _ in range(10):
        await connection.execute(plain_sql(aged), sorted(await claim(connection, aged, BATCH)), CLIENT, ages)
    ids = sorted(await claim(connection, aged, BATCH))
    if general:
        nothing = [None] * BATCH
        columns = (ids, ["available"] * BATCH, [0] * BATCH, nothing, nothing, nothing, CLIENT, ages, nothing)
        root = await plan(connection, general_sql(aged), *columns)
    else:
        root = await plan(connection, plain_sql(aged), ids, CLIENT, ages)
    check(root, {"river_job_pkey"}, 100 * BATCH)
    table, left = aged.table("river_job"), "completed" if not general else "available"
    assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE id = ANY($1) AND state = '{left}'", ids) == BATCH


async def test_what_a_lost_claim_holds_is_found_by_state(connection: Connection, aged: Schema) -> None:
    known = await claim(connection, aged, BATCH)
    lost = await claim(connection, aged, BATCH)
    root = await plan(connection, return_lost_sql(aged), CLIENT, known)
    assert not [node for node in nodes(root) if node["Node Type"] == "Seq Scan"]
    table = aged.table("river_job")
    assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE id = ANY($1) AND state = 'available'", lost) == BATCH
    assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE id = ANY($1) AND state = 'running'", known) == BATCH


@pytest.mark.parametrize("names", [None, [], ["to"]], ids=["no-args", "all-args", "one-arg"])
async def test_a_claim_within_limits_walks_no_more_than_its_window(
    connection: Connection, aged: Schema, names: list[str] | None
) -> None:
    await claim(connection, aged, BATCH)
    limits = (2 * BATCH, 2 * BATCH, True, names)
    root = await plan(connection, limited_sql(aged), "default", BATCH, CLIENT, None, *limits)
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey"}, 100 * BATCH)
    assert root["Actual Rows"] == BATCH


UNLIMITED = (2**31 - 1, 2**31 - 1, False, None)
DAY = timedelta(days=1)


@pytest.mark.parametrize("by_kind", [False, True], ids=["whole", "by-kind"])
async def test_a_claim_within_a_rate_does_the_same_and_counts_by_key(
    connection: Connection, aged: Schema, by_kind: bool
) -> None:
    # Of other queues, so that a scan of the whole table would be one.
    await connection.execute(
        f"INSERT INTO {aged.table('rivermill_rate')} SELECT 'other' || n, '', date_bin($1, now(), to_timestamp(0)), 1 "
        "FROM generate_series(1, 5000) AS n",
        DAY,
    )
    await connection.execute(f"ANALYZE {aged.table('rivermill_rate')}")
    root = await plan(connection, rated_sql(aged), "default", BATCH, CLIENT, None, *UNLIMITED, BATCH, DAY, by_kind, None)
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey", "rivermill_rate_pkey"}, 100 * BATCH)
    assert root["Actual Rows"] == BATCH


async def test_a_claim_within_a_rate_that_is_used_up_looks_at_no_job(connection: Connection, aged: Schema) -> None:
    args = ("default", BATCH, CLIENT, None, *UNLIMITED, BATCH, DAY, False, None)
    assert len(await connection.fetch(rated_sql(aged), *args)) == BATCH
    (record,) = await connection.fetch(rated_sql(aged), *args)
    assert (record["id"], record["rate_full"]) == (None, True)
    root = await plan(connection, rated_sql(aged), *args)
    assert blocks(root) <= 20


async def test_jobs_to_rescue_are_found_by_state_and_not_by_walking_all_ids(connection: Connection, aged: Schema) -> None:
    await claim(connection, aged, BATCH)
    sql = stuck_sql(aged, has_clients=False)
    root = await plan(connection, sql, timedelta(0), timedelta(0), 0, 2 * BATCH)
    check(root, {"river_job_prioritized_fetching_index", "river_job_pkey"}, 100 * BATCH)
    assert root["Actual Rows"] == BATCH


async def test_cancelled_jobs_are_looked_for_among_ours_only(connection: Connection, aged: Schema) -> None:
    ids = await claim(connection, aged, BATCH)
    await connection.execute(
        f'UPDATE {aged.table("river_job")} SET metadata = \'{{"cancel_attempted_at": "now"}}\' WHERE id = $1', ids[0]
    )
    root = await plan(connection, cancelled_sql(aged), ids)
    check(root, {"river_job_pkey"}, 10 * BATCH)
    assert root["Actual Rows"] == 1


@pytest.mark.parametrize(
    "condition", ["state = 'running' AND id <> ALL($1)", "id + 0 = ANY($1)"], ids=["index on state", "sequential scan"]
)
async def test_the_check_sees_what_it_is_for(connection: Connection, aged: Schema, condition: str) -> None:
    ids = await claim(connection, aged, BATCH)
    root = await plan(connection, f"SELECT FROM {aged.table('river_job')} WHERE {condition}", ids)
    with pytest.raises(AssertionError):
        check(root, {"river_job_pkey"}, 100 * BATCH)


SEQUENCES = 2_000


@pytest.fixture
async def sequences(connection: Connection, aged: Schema) -> Schema:
    """Many sequences, in each a running job and others that wait, which came after the statistics were taken."""
    job, turns, waiting = (aged.table(name) for name in ("river_job", "rivermill_sequence", "rivermill_sequence_job"))
    state = f"(CASE WHEN n % 10 = 0 THEN 'running' ELSE 'pending' END)::{aged.table('river_job_state')}"
    await connection.execute(f"""
        WITH jobs AS (
            INSERT INTO {job} (kind, args, state) SELECT 'part', '{{}}', {state}
            FROM generate_series(0, {10 * SEQUENCES - 1}) AS n RETURNING id, state
        ), numbered AS (
            SELECT id, state, sha256(((row_number() OVER (ORDER BY id) - 1) / 10)::text::bytea) AS key FROM jobs
        ), up AS (
            INSERT INTO {turns} SELECT key, id FROM numbered WHERE state = 'running'
        )
        INSERT INTO {waiting} SELECT key, id FROM numbered WHERE state = 'pending'
    """)
    return aged


async def some_keys(connection: Connection, schema: Schema) -> list[bytes]:
    rows = await connection.fetch(f"SELECT key FROM {schema.table('rivermill_sequence')} ORDER BY key LIMIT {BATCH}")
    return [row["key"] for row in rows]


async def test_turns_are_given_on_by_keys_alone(connection: Connection, sequences: Schema) -> None:
    keys = await some_keys(connection, sequences)
    turns = sequences.table("rivermill_sequence")
    # A table this small would be scanned.
    await connection.execute(f"INSERT INTO {turns} SELECT sha256(n::text::bytea), 0 FROM generate_series(10000, 60000) AS n")
    await connection.execute(
        f"UPDATE {sequences.table('river_job')} SET state = 'completed', finalized_at = now() "
        f"WHERE id IN (SELECT job_id FROM {turns} WHERE key = ANY($1))",
        keys,
    )
    check(await plan(connection, lock_sql(sequences), keys), {"rivermill_sequence_pkey"}, 20 * BATCH)
    root = await plan(connection, advance_sql(sequences), keys, "channel")
    check(root, {"rivermill_sequence_pkey", "rivermill_sequence_job_pkey", "river_job_pkey"}, 100 * BATCH)
    up = f"SELECT count(*) FROM {sequences.table('river_job')} WHERE kind = 'part' AND state = 'available'"
    assert await connection.fetchval(up) == BATCH


async def test_sequences_begin_by_keys_alone(connection: Connection, sequences: Schema) -> None:
    keys = await some_keys(connection, sequences)
    await connection.execute(f"DELETE FROM {sequences.table('rivermill_sequence')} WHERE key = ANY($1)", keys)
    root = await plan(connection, begin_sql(sequences), keys, "channel")
    check(root, {"rivermill_sequence_job_pkey", "river_job_pkey"}, 100 * BATCH)
    assert root["Actual Rows"] == BATCH


async def test_a_look_at_sequences_reads_a_job_of_each_and_no_other(connection: Connection, sequences: Schema) -> None:
    root = await plan(connection, find_sql(sequences))
    tables = [node.get("Relation Name") for node in nodes(root) if node["Node Type"] == "Seq Scan"]
    assert set(tables) <= {"rivermill_sequence"}
    assert root["Actual Rows"] == 0
    # Three or four pages of the key's index and the row for each, and a walk from key to key.
    assert blocks(root) <= 15 * SEQUENCES
