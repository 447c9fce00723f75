"""Looking at jobs and changing them by single statements: get, list, cancel, complete, retry, delete, update.

Mirrors ``JobGet``, ``JobList``, ``JobCancel``, ``JobRetry``, ``JobDelete``, ``JobDeleteMany`` and ``JobUpdate`` of River's
``client.go``, ``JobCompleteTx`` and ``ResumableSetStepTx``.
"""

from __future__ import annotations

from typing import Any

from rivermill import gojson
from rivermill.db import Connection, unique_conflict
from rivermill.errors import JobNotRunningError, JobRunningError, NotFoundError, ValidationError
from rivermill.job import JobRow
from rivermill.joblist import MAX_LIST, JobFilter, JobListParams, JobListResult
from rivermill.jsonb import refuse_nul
from rivermill.rows import job_columns, job_from_record
from rivermill.schema import Schema
from rivermill.transactions import fetch_unprepared

MAX_OUTPUT = 32 * 1024 * 1024


def delete_many_statement(schema: Schema, filters: JobFilter, limit: int) -> tuple[str, list[Any]]:
    """The statement that deletes up to ``limit`` jobs, and its parameters.

    Raises:
        ValidationError: ``limit`` is out of its range.
    """
    if not isinstance(limit, int) or not 1 <= limit <= MAX_LIST:
        raise ValidationError(f"limit {limit!r}: use 1 to {MAX_LIST}")
    table, values = schema.table("river_job"), [limit]
    where = " AND ".join(["state <> 'running'", *filters.conditions(values)])
    sql = f"""
        WITH doomed AS (
            SELECT id FROM {table} WHERE {where} ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        ), deleted AS (
            DELETE FROM {table} AS job WHERE job.id = ANY(ARRAY(SELECT id FROM doomed)) RETURNING {job_columns("job")}
        )
        SELECT * FROM deleted ORDER BY id
    """
    return sql, values


class JobAdmin:
    """The statements over single jobs of one schema; each method takes the connection to run on.

    What waits for a row's lock returns the row that it locked: anything else in the statement sees it as it was before.
    """

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

    async def page(self, connection: Connection, params: JobListParams) -> JobListResult:
        """One page of jobs."""
        sql, values = params.statement(self._schema, job_columns())
        jobs = [job_from_record(record) for record in await fetch_unprepared(connection, sql, *values)]
        return JobListResult(jobs, params.cursor(jobs[-1]) if jobs else None)

    async def cancel(self, connection: Connection, job_id: int) -> JobRow:
        """Cancel a job: at once if it is not running, else by asking the client that runs it.

        Returns:
            The row as it is now; a finished job is unchanged, a running one still ``running``.

        Raises:
            NotFoundError: there is none of this id.
        """
        sql = f"""
            WITH locked AS (
                SELECT * FROM {self._table} WHERE id = $1 FOR UPDATE
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
            SELECT {job_columns()} FROM locked WHERE finalized_at IS NOT NULL
        """
        return self._found(await connection.fetchrow(sql, job_id, self._control, gojson.now()), job_id)

    async def complete(self, connection: Connection, row: JobRow, metadata: str | None) -> JobRow:
        """Complete a job that the attempt of ``row`` still runs.

        Args:
            connection: where to write.
            row: the job as it was claimed.
            metadata: JSON text merged into the row's metadata.

        Raises:
            JobNotRunningError: that attempt runs no more, or never did.
            NotFoundError: there is no such job.
        """
        return await self._in_attempt(connection, row, "state = 'completed', finalized_at = now(), ", metadata)

    async def set_progress(self, connection: Connection, row: JobRow, metadata: str | None) -> JobRow:
        """Merge metadata into a job that the attempt of ``row`` still runs; as ``complete`` otherwise."""
        return await self._in_attempt(connection, row, "", metadata)

    async def _in_attempt(self, connection: Connection, row: JobRow, changes: str, metadata: str | None) -> JobRow:
        # The same fence as the completer's, and the number of the attempt: the caller's transaction depends on it.
        sql = f"""
            UPDATE {self._table} SET {changes} metadata = metadata || coalesce($4::text, '{{}}')::jsonb
            WHERE id = $1 AND (state = 'running') IS TRUE AND attempt = $2
                AND attempted_by[array_upper(attempted_by, 1)] = $3::text
            RETURNING {job_columns()}
        """
        client_id = row.attempted_by[-1] if row.attempted_by else None
        record = await connection.fetchrow(sql, row.id, row.attempt, client_id, metadata)
        if record is not None:
            return job_from_record(record)
        now = await self.get(connection, row.id)
        raise JobNotRunningError(
            f"job {row.id}: attempt {row.attempt} of client {client_id} does not run it now, it is {now.state} in attempt "
            f"{now.attempt}; roll the transaction back, since others may do or have done its work"
        )

    async def retry(self, connection: Connection, job_id: int) -> JobRow:
        """Make a job that is not running due now, granting one more attempt if none is left.

        Raises:
            NotFoundError: there is none of this id.
            UniqueConflictError: another live job holds its unique key.
        """
        sql = f"""
            WITH locked AS (
                SELECT * FROM {self._table} WHERE id = $1 FOR UPDATE
            ), candidate AS (
                SELECT id FROM locked WHERE state <> 'running' AND NOT (state = 'available' AND scheduled_at < now())
            ), changed AS (
                UPDATE {self._table} AS job SET
                    state = 'available', scheduled_at = now(), finalized_at = NULL,
                    metadata = job.metadata - 'cancel_attempted_at',
                    max_attempts = CASE WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1
                                        ELSE job.max_attempts END
                FROM candidate WHERE job.id = candidate.id
                RETURNING {job_columns("job")}
            )
            SELECT * FROM changed
            UNION ALL
            SELECT {job_columns()} FROM locked WHERE NOT EXISTS (SELECT 1 FROM candidate)
        """
        with unique_conflict(f"job {job_id}: another job with its unique key is alive; cancel that one first"):
            record = await connection.fetchrow(sql, job_id)
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

    async def delete_many(self, connection: Connection, filters: JobFilter, *, limit: int, everything: bool) -> list[JobRow]:
        """Delete jobs that are not running, in the order of their ids; rows that others have locked are passed over.

        Raises:
            ValidationError: there is no filter and not ``everything``, it is one for lists, or ``limit`` is out of its range.
        """
        if isinstance(filters, JobListParams):
            raise ValidationError("job_delete_many: give a JobFilter; what else a list has would count for nothing here")
        if filters.empty != everything:
            raise ValidationError("job_delete_many: give a filter, or everything=True without one to delete all jobs")
        sql, values = delete_many_statement(self._schema, filters, limit)
        return [job_from_record(record) for record in await fetch_unprepared(connection, sql, *values)]

    async def update(self, connection: Connection, job_id: int, output: Any) -> JobRow:
        """Set the metadata key ``output``.

        Raises:
            NotFoundError: there is none of this id.
            ValidationError: the output cannot be encoded as JSON, or is larger than 32 MiB.
        """
        try:
            text = gojson.encode({"output": output})
            gojson.refuse_surrogates(text)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"output of type {type(output).__name__} cannot be encoded as JSON: {error}") from error
        refuse_nul("output", text)
        if len(text.encode()) > MAX_OUTPUT:
            raise ValidationError(f"output of {len(text.encode())} bytes: use at most {MAX_OUTPUT}")
        sql = f"UPDATE {self._table} SET metadata = metadata || $2::text::jsonb WHERE id = $1 RETURNING {job_columns()}"
        return self._found(await connection.fetchrow(sql, job_id, text), job_id)

    def _found(self, record: Any, job_id: int) -> JobRow:
        if record is None:
            raise NotFoundError(f"job {job_id}: there is no such job in schema {self._schema.name}")
        return job_from_record(record)
