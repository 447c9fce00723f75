"""Gives running jobs back whose client is gone. Mirrors River's ``job_rescuer.go``, and goes by liveness first.

A client that writes ``rivermill_client`` is dead when it has been silent for ``dead_after``; its jobs are rescued at once.
Clients without a row there (River for Go) are judged by age alone, as River does. A client that is alive keeps its jobs
however old they are. Every rescue is guarded by state, attempt, time and client, so that a job that ended meanwhile is left
alone, be it running again by now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.db import Connection
from rivermill.errors import ArgsDecodeError
from rivermill.job import JobRow, JobState
from rivermill.outcome import RESCUE_COUNT, error_element
from rivermill.retry import next_retry
from rivermill.rows import job_columns, readable_job
from rivermill.schema import Schema
from rivermill.worker import Workers

logger = logging.getLogger("rivermill.rescuer")

ERROR_TEXT = "Stuck job rescued by JobRescuer"
#: What somebody else wrote there may be any number, and one that is no integer of PostgreSQL's would spoil the whole batch.
MOST_RESCUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Rescued:
    """How many jobs were rescued, by reason; ``more_after`` is the id to go on from, None when all were seen."""

    dead_client: int = 0
    age: int = 0
    more_after: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job; ``scheduled_at`` of one that runs again."""

    state: JobState
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RescueRules:
    """What a rescue depends on beside the row.

    Attributes:
        workers: the kinds this client knows.
        job_timeout: where a worker says nothing; None is no limit.
        retry_policy: when a failed job runs again, where its worker says nothing.
        discard_unknown_kinds: whether a job of a kind without a worker here is discarded, as River does, or retried, since
            its worker may be another client's.
    """

    workers: Workers
    job_timeout: timedelta | None
    retry_policy: Callable[[JobRow], datetime]
    discard_unknown_kinds: bool = False

    def judge(self, row: JobRow, now: datetime, *, dead: bool) -> Verdict | None:
        """What becomes of a running job that nobody seems to run.

        Args:
            row: the job.
            now: this client's clock.
            dead: whether its client is known to be dead; else the job is only old, and may have the time it takes.

        Returns:
            None where the job is to be left alone.
        """
        if _is_cancelled(row.metadata):
            return Verdict(JobState.CANCELLED)
        if not dead and self._may_still_run(row, now):
            return None
        registration = self.workers.get(row.kind)
        if row.attempt >= row.max_attempts or (registration is None and self.discard_unknown_kinds):
            return Verdict(JobState.DISCARDED)
        return Verdict(JobState.RETRYABLE, next_retry(registration, row, self.retry_policy, now))

    def _may_still_run(self, row: JobRow, now: datetime) -> bool:
        registration = self.workers.get(row.kind)
        if registration is None:
            return False
        try:
            registration.args_of(row)
        except ArgsDecodeError:
            return False  # no worker was ever given it
        timeout = registration.timeout(self.job_timeout)
        return timeout is None or row.attempted_at is None or now - row.attempted_at < timeout


def _is_cancelled(metadata: Any) -> bool:
    """Whether somebody asked for the job's end; ``metadata`` may be any JSON, and a null says nothing, as in River."""
    return isinstance(metadata, Mapping) and metadata.get("cancel_attempted_at") is not None


async def rescue_jobs(
    connection: Connection,
    schema: Schema,
    rules: RescueRules,
    *,
    dead_after: timedelta,
    rescue_after: timedelta,
    after_id: int = 0,
    limit: int = 1_000,
) -> Rescued:
    """Look at up to ``limit`` jobs after an id and rescue those that need it; at the end forget dead clients without jobs.

    It goes by id, and on from the last one: jobs that are left alone do not stand in the way of others.
    """
    has_clients = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", schema.table("rivermill_client"))
    sql = stuck_sql(schema, has_clients=has_clients)
    records = await connection.fetch(sql, dead_after, rescue_after, after_id, limit)
    done = await _rescue(connection, schema, rules, records)
    dead = sum(1 for record in records if record["dead"] and record["id"] in done)
    if len(records) == limit:
        return Rescued(dead, len(done) - dead, records[-1]["id"])
    if has_clients:
        await _forget(connection, schema, dead_after)
    return Rescued(dead, len(done) - dead)


def stuck_sql(schema: Schema, *, has_clients: bool) -> str:
    """Running jobs after id ``$3``, up to ``$4``, of clients silent for ``$1``, or unknown and the jobs older than ``$2``."""
    clients = f"SELECT client_id, last_seen_at FROM {schema.table('rivermill_client')}"
    nobody = "SELECT NULL::text, NULL::timestamptz LIMIT 0"
    # Those that run are few and found by their state; asked for in the order of ids, a plan may walk the whole table instead.
    return f"""
        WITH running AS MATERIALIZED (
            SELECT id, attempted_at, attempted_by[array_upper(attempted_by, 1)] AS client_id
            FROM {schema.table("river_job")} WHERE state = 'running' AND id > $3
        ), stuck AS MATERIALIZED (
            SELECT running.id, client.seen IS NOT NULL AS dead FROM running
            LEFT JOIN ({clients if has_clients else nobody}) AS client (client_id, seen) USING (client_id)
            WHERE client.seen < now() - $1::interval
                OR (client.seen IS NULL AND running.attempted_at < now() - $2::interval)
            ORDER BY running.id LIMIT $4
        )
        SELECT {job_columns("job")}, stuck.dead FROM {schema.table("river_job")} AS job JOIN stuck USING (id)
        WHERE job.id = ANY(ARRAY(SELECT id FROM stuck)) ORDER BY job.id
    """


async def _rescue(connection: Connection, schema: Schema, rules: RescueRules, records: Sequence[Any]) -> set[int]:
    """Rescue those of the rows that need it; returns their ids."""
    now = datetime.now(UTC)
    judged = []
    for record in records:
        row = readable_job(record)
        verdict = rules.judge(row, now, dead=record["dead"])
        if verdict is not None:
            judged.append((row, verdict))
    return await _write(connection, schema, judged, now) if judged else set()


async def _write(connection: Connection, schema: Schema, judged: Sequence[tuple[JobRow, Verdict]], now: datetime) -> set[int]:
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    sql = f"""
        WITH input AS (
            SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
                                 $7::timestamptz[])
                AS t (id, attempt, attempted_at, client_id, state, error, scheduled_at)
        ), locked AS (
            SELECT job.id FROM {table} AS job JOIN input USING (id)
            WHERE job.id = ANY($1::bigint[]) AND (job.state = 'running') IS TRUE AND job.attempt = input.attempt
                AND job.attempted_at IS NOT DISTINCT FROM input.attempted_at
                AND job.attempted_by[array_upper(job.attempted_by, 1)] IS NOT DISTINCT FROM input.client_id
            ORDER BY job.id FOR UPDATE OF job SKIP LOCKED
        )
        UPDATE {table} AS job SET
            state = input.state::{enum},
            finalized_at = CASE WHEN input.state <> 'retryable' THEN now() END,
            scheduled_at = coalesce(input.scheduled_at, job.scheduled_at),
            errors = array_append(job.errors, input.error::jsonb),
            metadata = job.metadata || jsonb_build_object('{RESCUE_COUNT}',
                CASE WHEN jsonb_typeof(job.metadata -> '{RESCUE_COUNT}') = 'number'
                     THEN least(abs((job.metadata ->> '{RESCUE_COUNT}')::numeric), {MOST_RESCUES})::int ELSE 0 END + 1)
        FROM input JOIN locked USING (id) WHERE job.id = input.id
        RETURNING job.id
    """
    rows = [row for row, _ in judged]
    records = await connection.fetch(
        sql,
        [row.id for row in rows],
        [row.attempt for row in rows],
        [row.attempted_at for row in rows],
        [row.attempted_by[-1] if row.attempted_by else None for row in rows],
        [verdict.state.value for _, verdict in judged],
        [error_element(now, max(row.attempt, 0), ERROR_TEXT) for row in rows],
        [verdict.scheduled_at for _, verdict in judged],
    )
    return {record["id"] for record in records}


async def _forget(connection: Connection, schema: Schema, dead_after: timedelta) -> None:
    await connection.execute(
        f"DELETE FROM {schema.table('rivermill_client')} WHERE last_seen_at < now() - $1::interval * 2 "
        "AND client_id NOT IN (SELECT attempted_by[array_upper(attempted_by, 1)] "
        f"FROM {schema.table('river_job')} WHERE state = 'running' AND cardinality(attempted_by) > 0)",
        dead_after,
    )
