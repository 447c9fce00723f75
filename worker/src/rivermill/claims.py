"""The statements of a claim. Mirrors River's ``JobGetAvailable`` in effect."""

from __future__ import annotations

from rivermill.rows import claim_columns
from rivermill.schema import Schema

_MAX_ATTEMPTED_BY = 100


def of_kinds(parameter: int) -> str:
    """The condition that a job's kind is in this parameter.

    ``IS TRUE`` keeps the planner from the index on kinds, where every finished job would be walked.
    """
    return f" AND (kind = ANY(${parameter}::text[])) IS TRUE"


def claim_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """Claim up to ``$2`` due jobs of queue ``$1`` for client ``$3``; with ``known_kinds`` only those whose kind is in ``$4``.

    ``id = ANY(ARRAY(…))`` always looks ids up in the primary key; River's join of a CTE reads the whole table once it is cached
    as a generic plan that was made while many jobs waited.
    """
    kinds = of_kinds(4) if known_kinds else ""
    return claiming(
        schema,
        f"""
            SELECT id FROM {schema.table("river_job")}
            WHERE state = 'available' AND queue = $1 AND scheduled_at <= now(){kinds}
            ORDER BY priority, scheduled_at, id
            LIMIT $2 FOR UPDATE SKIP LOCKED
        """,
    )


def claim_many_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """As ``claim_sql`` for the queues ``$1``: up to ``$2`` jobs of each, ``$4`` of all; only of kinds in ``$5``.

    The queues are asked in their order until there are enough jobs. In each row is its queue.
    """
    kinds = of_kinds(5) if known_kinds else ""
    ids = f"""
        SELECT job.id FROM unnest($1::text[], $2::int[]) AS wanted (queue, most), LATERAL (
            SELECT id FROM {schema.table("river_job")}
            WHERE state = 'available' AND queue = wanted.queue AND scheduled_at <= now(){kinds}
            ORDER BY priority, scheduled_at, id
            LIMIT wanted.most FOR UPDATE SKIP LOCKED
        ) AS job LIMIT $4::int
    """
    return f"{claiming(schema, ids)}, queue"


def due_queues_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """Those of the queues ``$1`` that have a due job; only of kinds in ``$2``.

    One index entry of each is looked at. A plain ``EXISTS`` would become a join, and that a scan of the whole table.
    """
    kinds = of_kinds(2) if known_kinds else ""
    return f"""
        SELECT asked.queue FROM unnest($1::text[]) AS asked (queue), LATERAL (
            SELECT FROM {schema.table("river_job")}
            WHERE state = 'available' AND queue = asked.queue AND scheduled_at <= now(){kinds}
            ORDER BY priority, scheduled_at, id LIMIT 1
        ) AS job
    """


def claiming(schema: Schema, ids: str, *, now: str = "now()") -> str:
    """Claim the jobs whose ids a query selects, and locks, for client ``$3``, at a time that an SQL expression says."""
    return f"""
        UPDATE {schema.table("river_job")} SET
            state = 'running',
            attempt = attempt + 1,
            attempted_at = {now},
            attempted_by = array_append(
                CASE WHEN array_length(attempted_by, 1) >= {_MAX_ATTEMPTED_BY}
                     THEN attempted_by[array_length(attempted_by, 1) + 2 - {_MAX_ATTEMPTED_BY}:]
                     ELSE attempted_by END, $3::text)
        WHERE id = ANY(ARRAY({ids}))
        RETURNING {claim_columns()}
    """


def return_lost_sql(schema: Schema) -> str:
    """Give back what client ``$1`` holds ``running`` beside the jobs ``$2`` it knows of.

    A claim whose answer was lost with its connection may have been committed all the same; nobody else would ever look at
    such rows, since their client is alive. One whose cancellation was asked for meanwhile is cancelled, as at an attempt's end.
    """
    table, cancelled = schema.table("river_job"), "metadata ? 'cancel_attempted_at'"
    return f"""
        UPDATE {table} SET
            state = CASE WHEN {cancelled} THEN 'cancelled' ELSE 'available' END::{schema.table("river_job_state")},
            finalized_at = CASE WHEN {cancelled} THEN now() END,
            attempt = CASE WHEN {cancelled} THEN attempt ELSE greatest(attempt - 1, 0) END
        WHERE id = ANY(ARRAY(
            SELECT id FROM {table}
            WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND id <> ALL($2::bigint[])
            ORDER BY id FOR UPDATE
        ))
    """
