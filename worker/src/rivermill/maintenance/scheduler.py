"""Makes scheduled and retryable jobs available when they are due. Mirrors River's ``JobSchedule``."""

from __future__ import annotations

from rivermill.db import Connection
from rivermill.schema import Schema

#: Rows are made available this much early, so that they are found when they are due and not a run later.
LOOK_AHEAD_SECONDS = 5.0


async def schedule_jobs(connection: Connection, schema: Schema, *, limit: int = 1_000) -> int:
    """Make due jobs available and wake their queues; returns how many rows were touched.

    A row whose unique key another live row holds is discarded, as in River. Rows that somebody else has locked wait for the
    next run.
    """
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    covered = schema.table("river_job_state_in_bitmask")
    sql = f"""
        WITH due AS (
            SELECT id, unique_key, unique_states, priority, scheduled_at FROM {table}
            WHERE state IN ('retryable', 'scheduled') AND priority IN (1, 2, 3, 4) AND queue IS NOT NULL
                AND scheduled_at <= now() + make_interval(secs => $1)
            ORDER BY priority, scheduled_at, id
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ), ranked AS (
            SELECT id, unique_key, unique_states, row_number() OVER (
                PARTITION BY unique_key ORDER BY priority, scheduled_at, id) AS rank
            FROM due
        ), judged AS (
            SELECT id, unique_key IS NOT NULL AND unique_states IS NOT NULL AND (
                rank > 1 OR EXISTS (
                    SELECT 1 FROM {table} AS other
                    WHERE other.unique_key = ranked.unique_key AND other.id <> ranked.id
                        AND other.unique_states IS NOT NULL AND {covered}(other.unique_states, other.state)
                )) AS conflict
            FROM ranked
        )
        UPDATE {table} AS job SET
            state = CASE WHEN judged.conflict THEN 'discarded' ELSE 'available' END::{enum},
            finalized_at = CASE WHEN judged.conflict THEN now() END,
            metadata = CASE WHEN judged.conflict THEN job.metadata || '{{"unique_key_conflict": "scheduler_discarded"}}'
                            ELSE job.metadata END
        FROM judged WHERE job.id = judged.id
        RETURNING job.queue, NOT judged.conflict AND job.scheduled_at <= now() + interval '5 milliseconds' AS due_now
    """
    async with connection.transaction():
        rows = await connection.fetch(sql, LOOK_AHEAD_SECONDS, limit)
        queues = sorted({row["queue"] for row in rows if row["due_now"]})
        if queues:
            await connection.execute(
                "SELECT pg_notify($1, json_build_object('queue', queue)::text) FROM unnest($2::text[]) AS queue",
                schema.channel("river_insert"),
                queues,
            )
    return len(rows)
