"""Looking at jobs and changing them from outside: get, list, cancel, retry, delete.

Mirrors ``JobGet``, ``JobList``, ``JobCancel``, ``JobRetry`` and ``JobDelete`` of River's ``client.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from rivermill.db import Connection
from rivermill.errors import JobRunningError, NotFoundError, UniqueConflictError, ValidationError
from rivermill.job import JobRow, JobState
from rivermill.rows import job_columns, job_from_record
from rivermill.schema import Schema

MAX_LIST = 10_000


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; an empty field does not filter, several fields must all match."""

    ids: Sequence[int] = ()
    kinds: Sequence[str] = ()
    queues: Sequence[str] = ()
    states: Sequence[JobState] = ()
    priorities: Sequence[int] = ()

    def where(self, first: int, schema: Schema) -> tuple[str, list[Any]]:
        """The conditions and their parameters, numbered from ``first``."""
        columns = (
            ("id", "bigint", list(self.ids)),
            ("kind", "text", list(self.kinds)),
            ("queue", "text", list(self.queues)),
            ("priority", "smallint", list(self.priorities)),
        )
        conditions = ["true"]
        values: list[Any] = []
        for column, sql_type, wanted in columns:
            if wanted:
                conditions.append(f"{column} = ANY(${first + len(values)}::{sql_type}[])")
                values.append(wanted)
        if self.states:
            enum = schema.table("river_job_state")
            conditions.append(f"state = ANY(${first + len(values)}::text[]::{enum}[])")
            values.append([JobState(state).value for state in self.states])
        return " AND ".join(conditions), values


class JobAdmin:
    """The statements over single jobs of one schema; each method takes the connection to run on."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._table = schema.table("river_job")
        self._enum = schema.table("river_job_state")
        self._control = schema.channel("river_control")

    async def get(self, connection: Connection, job_id: int) -> JobRow:
        """One job.

        Raises:
            NotFoundError: there is none of this id.
        """
        record = await connection.fetchrow(f"SELECT {job_columns()} FROM {self._table} WHERE id = $1", job_id)
        return self._found(record, job_id)

    async def list(self, connection: Connection, filters: JobFilter, *, limit: int, descending: bool) -> list[JobRow]:
        """Jobs in the order of their ids.

        Raises:
            ValidationError: ``limit`` is not within 1 to 10,000.
        """
        if not 1 <= limit <= MAX_LIST:
            raise ValidationError(f"limit {limit}: use 1 to {MAX_LIST}")
        where, values = filters.where(2, self._schema)
        order = "DESC" if descending else "ASC"
        sql = f"SELECT {job_columns()} FROM {self._table} WHERE {where} ORDER BY id {order} LIMIT $1"
        return [job_from_record(record) for record in await connection.fetch(sql, limit, *values)]

    async def cancel(self, connection: Connection, job_id: int) -> JobRow:
        """Cancel a job: at once if it is not running, else by asking the client that runs it.

        Returns:
            The row as it is now; a finished job is unchanged, a running one still ``running``.

        Raises:
            NotFoundError: there is none of this id.
        """
        sql = f"""
            WITH locked AS (
                SELECT id, queue, state, finalized_at FROM {self._table} WHERE id = $1 FOR UPDATE
            ), told AS (
                SELECT id, pg_notify($2, json_build_object('action', 'cancel', 'job_id', id, 'queue', queue)::text)
                FROM locked WHERE finalized_at IS NULL
            ), changed AS (
                UPDATE {self._table} AS job SET
                    state = CASE WHEN job.state = 'running' THEN job.state ELSE 'cancelled'::{self._enum} END,
                    finalized_at = CASE WHEN job.state = 'running' THEN job.finalized_at ELSE now() END,
                    metadata = jsonb_set(job.metadata, '{{cancel_attempted_at}}', to_jsonb($3::text), true)
                FROM told WHERE job.id = told.id
                RETURNING {job_columns("job")}
            )
            SELECT * FROM changed
            UNION ALL
            SELECT {job_columns("job")} FROM {self._table} AS job
            JOIN locked USING (id) WHERE locked.finalized_at IS NOT NULL
        """
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return self._found(await connection.fetchrow(sql, job_id, self._control, now), job_id)

    async def retry(self, connection: Connection, job_id: int) -> JobRow:
        """Make a job that is not running due now, granting one more attempt if none is left.

        Raises:
            NotFoundError: there is none of this id.
            UniqueConflictError: another live job holds its unique key.
        """
        sql = f"""
            WITH candidate AS (
                SELECT id FROM {self._table}
                WHERE id = $1 AND state <> 'running' AND NOT (state = 'available' AND scheduled_at < now())
                FOR UPDATE
            ), changed AS (
                UPDATE {self._table} AS job SET
                    state = 'available', scheduled_at = now(), finalized_at = NULL,
                    max_attempts = CASE WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1
                                        ELSE job.max_attempts END
                FROM candidate WHERE job.id = candidate.id
                RETURNING {job_columns("job")}
            )
            SELECT * FROM changed
            UNION ALL
            SELECT {job_columns()} FROM {self._table}
            WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM candidate)
        """
        try:
            record = await connection.fetchrow(sql, job_id)
        except asyncpg.UniqueViolationError as error:
            raise UniqueConflictError(
                f"job {job_id}: another job with its unique key is alive; cancel that one first"
            ) from error
        return self._found(record, job_id)

    async def delete(self, connection: Connection, job_id: int) -> JobRow:
        """Delete a job that is not running; returns what it was.

        Raises:
            NotFoundError: there is none of this id.
            JobRunningError: it is running.
        """
        sql = f"DELETE FROM {self._table} WHERE id = $1 AND state <> 'running' RETURNING {job_columns()}"
        record = await connection.fetchrow(sql, job_id)
        if record is None:
            await self.get(connection, job_id)
            raise JobRunningError(f"job {job_id} is running: cancel it and wait until it has ended, then delete it")
        return job_from_record(record)

    def _found(self, record: Any, job_id: int) -> JobRow:
        if record is None:
            raise NotFoundError(f"job {job_id}: there is no such job in schema {self._schema.name}")
        return job_from_record(record)
