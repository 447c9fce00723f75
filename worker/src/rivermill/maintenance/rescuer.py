"""Gives running jobs back whose client is gone. Mirrors River's ``job_rescuer.go``, and goes by liveness first.

A client that writes ``rivermill_client`` is dead when it has been silent for ``dead_after``; its jobs are rescued at once.
Clients without a row there (River for Go) are judged by age alone, as River does. A client that is alive keeps its jobs
however old they are. Every rescue is guarded by state, attempt and client, so that a job that ended meanwhile is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rivermill.db import Connection
from rivermill.outcome import error_element
from rivermill.schema import Schema

logger = logging.getLogger("rivermill.rescuer")

ERROR_TEXT = "Stuck job rescued by JobRescuer"


@dataclass(frozen=True, slots=True)
class Rescued:
    """How many jobs were rescued, by reason."""

    dead_client: int = 0
    age: int = 0


@dataclass(frozen=True, slots=True)
class _Stuck:
    id: int
    attempt: int
    client_id: str | None
    state: str
    error: str
    scheduled_at: datetime | None
    dead: bool


async def rescue_jobs(
    connection: Connection,
    schema: Schema,
    *,
    dead_after: timedelta,
    rescue_after: timedelta,
    retry_delay: Callable[[int], timedelta],
    limit: int = 1_000,
) -> Rescued:
    """Rescue up to ``limit`` jobs and forget dead clients that hold none any more."""
    has_clients = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", schema.table("rivermill_client"))
    clients = schema.table("rivermill_client") if has_clients else "(SELECT NULL::text, NULL::timestamptz LIMIT 0)"
    sql = f"""
        WITH running AS (
            SELECT id, attempt, max_attempts, attempted_at, cardinality(coalesce(errors, '{{}}')) AS errors,
                attempted_by[array_upper(attempted_by, 1)] AS client_id, metadata ? 'cancel_attempted_at' AS cancelled
            FROM {schema.table("river_job")} WHERE state = 'running'
        )
        SELECT running.*, client.seen IS NOT NULL AS dead FROM running
        LEFT JOIN {clients if not has_clients else f"(SELECT client_id, last_seen_at FROM {clients})"}
            AS client (client_id, seen) ON client.client_id = running.client_id
        WHERE client.seen < now() - $1::interval OR (client.seen IS NULL AND attempted_at < now() - $2::interval)
        ORDER BY id LIMIT $3
    """
    rows = await connection.fetch(sql, dead_after, rescue_after, limit)
    now = datetime.now(UTC)
    stuck = [_judge(row, now, retry_delay) for row in rows]
    done = await _write(connection, schema, stuck) if stuck else set()
    if has_clients and len(rows) < limit:
        await _forget(connection, schema, dead_after)
    dead = sum(1 for job in stuck if job.id in done and job.dead)
    return Rescued(dead_client=dead, age=len(done) - dead)


def _judge(row: dict[str, object], now: datetime, retry_delay: Callable[[int], timedelta]) -> _Stuck:
    attempt, errors = int(str(row["attempt"])), int(str(row["errors"]))
    scheduled_at = None
    if row["cancelled"]:
        state = "cancelled"
    elif attempt >= int(str(row["max_attempts"])):
        state = "discarded"
    else:
        state, scheduled_at = "retryable", now + retry_delay(errors + 1)
    client_id = row["client_id"]
    return _Stuck(
        id=int(str(row["id"])),
        attempt=attempt,
        client_id=None if client_id is None else str(client_id),
        state=state,
        error=error_element(now, attempt, ERROR_TEXT),
        scheduled_at=scheduled_at,
        dead=bool(row["dead"]),
    )


async def _write(connection: Connection, schema: Schema, stuck: list[_Stuck]) -> set[int]:
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    sql = f"""
        WITH input AS (
            SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
                AS t (id, attempt, client_id, state, error, scheduled_at)
        ), locked AS (
            SELECT job.id FROM {table} AS job JOIN input USING (id)
            WHERE job.id = ANY($1::bigint[]) AND (job.state = 'running') IS TRUE AND job.attempt = input.attempt
                AND job.attempted_by[array_upper(job.attempted_by, 1)] IS NOT DISTINCT FROM input.client_id
            ORDER BY job.id FOR UPDATE OF job SKIP LOCKED
        )
        UPDATE {table} AS job SET
            state = input.state::{enum},
            finalized_at = CASE WHEN input.state <> 'retryable' THEN now() END,
            scheduled_at = coalesce(input.scheduled_at, job.scheduled_at),
            errors = array_append(job.errors, input.error::jsonb),
            metadata = job.metadata || jsonb_build_object('river:rescue_count',
                CASE WHEN jsonb_typeof(job.metadata -> 'river:rescue_count') = 'number'
                     THEN (job.metadata ->> 'river:rescue_count')::numeric::int ELSE 0 END + 1)
        FROM input JOIN locked USING (id) WHERE job.id = input.id
        RETURNING job.id
    """
    columns = [
        [getattr(job, name) for job in stuck] for name in ("id", "attempt", "client_id", "state", "error", "scheduled_at")
    ]
    return {row["id"] for row in await connection.fetch(sql, *columns)}


async def _forget(connection: Connection, schema: Schema, dead_after: timedelta) -> None:
    await connection.execute(
        f"DELETE FROM {schema.table('rivermill_client')} WHERE last_seen_at < now() - $1::interval * 2 "
        "AND client_id NOT IN (SELECT attempted_by[array_upper(attempted_by, 1)] "
        f"FROM {schema.table('river_job')} WHERE state = 'running' AND cardinality(attempted_by) > 0)",
        dead_after,
    )
