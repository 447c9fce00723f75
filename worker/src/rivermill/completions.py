"""The statements that write how attempts ended. Mirrors River's ``JobSetStateIfRunningMany`` in effect.

Both touch only rows that are still ``running`` for this very client. ``(state = 'running') IS TRUE`` keeps the planner away
from the index on state, where every dead ``running`` entry would be walked.
"""

from __future__ import annotations

from rivermill.schema import Schema

#: When an attempt ended: so many seconds ago. The database's clock at the statement's arrival, so that clocks may differ.
_ENDED = "statement_timestamp() - {} * interval '1 second'"


def plain_sql(schema: Schema) -> str:
    """Successes with nothing else to write: ``$1`` ids in order, ``$2`` client id, ``$3`` seconds since each ended."""
    # A search in the ordered ids, since a join with them would be a plan that depends on statistics.
    ended = _ENDED.format("($3::float8[])[width_bucket(id, $1::bigint[])]")
    return f"""
        UPDATE {schema.table("river_job")} SET state = 'completed', finalized_at = {ended}
        WHERE id = ANY($1::bigint[]) AND (state = 'running') IS TRUE
            AND attempted_by[array_upper(attempted_by, 1)] = $2
    """


def general_sql(schema: Schema) -> str:
    """Every other outcome: ``$1`` ids in order, then one array a column, ``$7`` client id, ``$8`` seconds since each ended.

    ``$9`` are the times at which they were claimed, null for any: what is tried again, since its answer was lost, may have made
    the job available, and by now it may run here once more.

    A job whose cancellation was asked for does not run again. Metadata is merged even when somebody else has finished the
    row meanwhile, and nothing else of it is touched then. Both as in River's ``JobSetStateIfRunningMany``.
    """
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    return f"""
        WITH input AS (
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::text[], $5::timestamptz[], $6::text[],
                                 $8::float8[], $9::float8[])
                AS t (id, state, attempt, error, scheduled_at, metadata, age, claimed_at)
        ), locked AS (
            SELECT id, (state = 'running') IS TRUE AS running, metadata ? 'cancel_attempted_at' AS cancelled,
                date_part('epoch', attempted_at) AS claimed_at
            FROM {table}
            WHERE id = ANY($1::bigint[])
                AND attempted_by[array_upper(attempted_by, 1)] = $7
            ORDER BY id FOR UPDATE
        ), wanted AS (
            SELECT input.*, locked.running,
                locked.running AND locked.cancelled AND input.state IN ('available', 'retryable', 'scheduled') AS cancel
            FROM input JOIN locked USING (id)
            WHERE (locked.running OR input.metadata IS NOT NULL)
                AND (input.claimed_at IS NULL OR input.claimed_at = locked.claimed_at)
        )
        UPDATE {table} AS job SET
            state = CASE WHEN NOT wanted.running THEN job.state::text
                         WHEN wanted.cancel THEN 'cancelled' ELSE wanted.state END::{enum},
            finalized_at = CASE WHEN NOT wanted.running THEN job.finalized_at
                                WHEN wanted.cancel OR wanted.state IN ('cancelled', 'completed', 'discarded')
                                THEN {_ENDED.format("wanted.age")} END,
            attempt = CASE WHEN wanted.cancel OR NOT wanted.running THEN job.attempt
                           ELSE coalesce(wanted.attempt, job.attempt) END,
            scheduled_at = CASE WHEN wanted.cancel OR NOT wanted.running THEN job.scheduled_at
                                ELSE coalesce(wanted.scheduled_at, job.scheduled_at) END,
            errors = CASE WHEN wanted.error IS NULL OR NOT wanted.running THEN job.errors
                          ELSE array_append(job.errors, wanted.error::jsonb) END,
            metadata = CASE WHEN wanted.metadata IS NULL THEN job.metadata
                            ELSE job.metadata || wanted.metadata::jsonb END
        FROM wanted WHERE job.id = wanted.id
    """
