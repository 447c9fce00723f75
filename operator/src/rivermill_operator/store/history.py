"""The jobs that a schema remembers, for simulating what another scaler would have made of them."""

from __future__ import annotations

from typing import Any

from rivermill_operator.store.connection import DATABASE_ERRORS, connect, explain
from rivermill_operator.store.port import StoreError

#: A person waits for this, and no decision does: it may take longer than what the operator reads.
READ_SECONDS = 60.0
MOST_JOBS = 500_000

#: What helps where no JobQueue is concerned, by reason.
_MESSAGES = {
    "SchemaMissing": "Schema {schema} has no table river_job: name the schema of River's tables with --schema, "
    "or make them with `rivermill migrate up`.",
}


def history_sql(schema: str) -> str:
    """``$1`` hours, ``$2`` how many jobs at most, the newest; their last attempts, in seconds since 1970.

    A job that was inserted for a time gone by became due with its insertion. What became due before the hours is left out:
    of that time there are only the jobs that waited longest.
    """
    quoted = schema.replace('"', '""')
    return f"""
        SELECT extract(epoch FROM greatest(scheduled_at, created_at))::float8 AS due,
            extract(epoch FROM created_at)::float8 AS known,
            greatest(0, extract(epoch FROM finalized_at - attempted_at))::float8 AS seconds, queue, priority::int
        FROM "{quoted}".river_job
        WHERE state IN ('completed', 'discarded') AND finalized_at IS NOT NULL AND attempted_at IS NOT NULL
            AND finalized_at > now() - make_interval(secs => 3600 * $1::float8)
            AND greatest(scheduled_at, created_at) > now() - make_interval(secs => 3600 * $1::float8)
        ORDER BY finalized_at DESC LIMIT $2
    """


async def read(dsn: str, schema: str, hours: float) -> list[dict[str, Any]]:
    """Jobs that became due and ended in the last hours: ``due``, ``known``, ``seconds``, ``queue`` and ``priority`` of each.

    Raises:
        StoreError: the database cannot be read.
    """
    try:
        return await _read(dsn, schema, hours)
    except StoreError as error:
        message = _MESSAGES[error.reason].format(schema=schema) if error.reason in _MESSAGES else error.message
        raise StoreError(error.reason, message) from None


async def _read(dsn: str, schema: str, hours: float) -> list[dict[str, Any]]:
    connection = await connect(dsn)
    try:
        await connection.execute(f"SET statement_timeout = {int(READ_SECONDS * 1000)}")
        rows = await connection.fetch(history_sql(schema), hours, MOST_JOBS, timeout=READ_SECONDS + 5)
    except DATABASE_ERRORS as error:
        raise explain(error, dsn) from None
    finally:
        connection.terminate()
    return [dict(row) for row in rows]
