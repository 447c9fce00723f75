"""Generic plans of what a worker does all the time, on big tables, whatever the statistics were taken of.

What other systems write in their place, and what became of that, is here as well: the check must not let it pass.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from rivermill.claims import claim_many_sql, claim_sql, due_queues_sql
from rivermill.completions import general_sql, plain_sql
from rivermill.db import Connection
from rivermill.limited_claim import limited_sql, rated_sql
from rivermill.schema import Schema
from tests.db.plans.explained import BATCH, CLIENT, check, nodes, plan

FETCHING, KEY = "river_job_prioritized_fetching_index", "river_job_pkey"
#: Blocks for each job: it is found in two indexes, and written to the table and some of its indexes. About 15 to 25.
EACH = 40
LIMITS, DAY = (2 * BATCH, 2 * BATCH, False, None), timedelta(days=1)
AGES, NOTHING = [0.0] * BATCH, [None] * BATCH


def conditions(root: dict[str, Any], index: str) -> list[str]:
    return [node["Index Cond"] for node in nodes(root) if node.get("Index Name") == index]


async def claim(connection: Connection, schema: Schema) -> list[int]:
    return sorted([record["id"] for record in await connection.fetch(claim_sql(schema), "default", BATCH, CLIENT)])


async def claim_after_others(connection: Connection, schema: Schema) -> list[int]:
    """Jobs that run now, after others whose dead entries are left in the index on state."""
    for _ in range(10):
        await connection.execute(plain_sql(schema), await claim(connection, schema), CLIENT, AGES)
    return await claim(connection, schema)


@pytest.mark.parametrize("kinds", [None, ["todo", "done"]], ids=["all-kinds", "known-kinds"])
async def test_claims(undone: Connection, big: Schema, kinds: list[str] | None) -> None:
    known, more = kinds is not None, [] if kinds is None else [kinds]
    root = await plan(undone, claim_sql(big, known_kinds=known), "default", BATCH, CLIENT, *more)
    check(root, {FETCHING, KEY}, EACH * BATCH)
    assert root["Actual Rows"] == BATCH
    (walked,) = conditions(root, FETCHING)
    assert "(queue = $1)" in walked
    root = await plan(undone, claim_many_sql(big, known_kinds=known), ["default", "other"], [BATCH] * 2, CLIENT, BATCH, *more)
    check(root, {FETCHING, KEY}, EACH * BATCH)
    assert root["Actual Rows"] == BATCH
    root = await plan(undone, due_queues_sql(big, known_kinds=known), ["default", "other"], *more)
    check(root, {FETCHING}, EACH)


async def test_claims_within_limits(undone: Connection, big: Schema) -> None:
    await claim(undone, big)
    root = await plan(undone, limited_sql(big), "default", BATCH, CLIENT, None, *LIMITS)
    check(root, {FETCHING, KEY}, EACH * BATCH)
    assert root["Actual Rows"] == BATCH
    root = await plan(undone, rated_sql(big), "default", BATCH, CLIENT, None, *LIMITS, BATCH, DAY, False, None)
    assert {node.get("Relation Name") for node in nodes(root) if node["Node Type"] == "Seq Scan"} <= {"rivermill_rate"}
    assert {FETCHING, KEY} <= {node.get("Index Name") for node in nodes(root)}


async def test_plain_completions(undone: Connection, big: Schema) -> None:
    ids = await claim_after_others(undone, big)
    root = await plan(undone, plain_sql(big), ids, CLIENT, AGES)
    check(root, {KEY}, EACH * BATCH)
    assert conditions(root, KEY) == ["(id = ANY ($1))"]


async def test_other_outcomes(undone: Connection, big: Schema) -> None:
    ids = await claim_after_others(undone, big)
    columns = (ids, ["available"] * BATCH, [0] * BATCH, NOTHING, NOTHING, NOTHING, CLIENT, AGES, NOTHING)
    root = await plan(undone, general_sql(big), *columns)
    check(root, {KEY}, EACH * BATCH)
    assert "(id = ANY ($1))" in conditions(root, KEY)


@pytest.mark.parametrize("big", ["a backlog among finished", "a backlog"], indirect=True, scope="session")
async def test_a_claim_that_joins_is_seen(undone: Connection, big: Schema) -> None:
    """As in River: where many jobs were seen to wait the whole table is read, by itself or through its key."""
    table = big.table("river_job")
    joining = f"""
        WITH locked AS (
            SELECT id FROM {table} WHERE state = 'available' AND queue = $1 AND scheduled_at <= now()
            ORDER BY priority, scheduled_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        UPDATE {table} AS job SET state = 'running', attempt = attempt + 1, attempted_by = array_append(attempted_by, $3::text)
        FROM locked WHERE job.id = locked.id RETURNING job.*
    """
    root = await plan(undone, joining, "default", BATCH, CLIENT)
    assert root["Actual Rows"] == BATCH
    with pytest.raises(AssertionError):
        check(root, {FETCHING, KEY}, EACH * BATCH)


@pytest.mark.parametrize("big", ["a million finished"], indirect=True, scope="session")
async def test_a_completion_that_asks_for_the_state_is_seen(undone: Connection, big: Schema) -> None:
    """As in other systems: PostgreSQL 15 looks for jobs that run by their state, since it has seen none, and meets the dead."""
    naive = plain_sql(big).replace("(state = 'running') IS TRUE", "state = 'running'")
    assert naive != plain_sql(big)
    root = await plan(undone, naive, await claim_after_others(undone, big), CLIENT, AGES)
    seen_through = undone.get_server_version().major > 15
    assert bool(conditions(root, FETCHING)) is not seen_through
    with nullcontext() if seen_through else pytest.raises(AssertionError):
        check(root, {KEY}, EACH * BATCH)
