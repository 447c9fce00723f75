"""The jobs that a schema remembers, for simulating what another scaler would have made of them."""

from __future__ import annotations

from typing import Any

from rivermill_operator.store.connection import DATABASE_ERRORS, connect, explain

#: A person waits for this, and no decision does: it may take longer than what the operator reads.
READ_SECONDS = 60.0
MOST_JOBS = 500_000


def history_sql(schema: str) -> str:
    """``$1`` hours, ``$2`` how many jobs at most, the newest; their last attempts, in seconds since 1970."""
    return f"""
        SELECT extract(epoch FROM scheduled_at)::float8 AS due, extract(epoch FROM created_at)::float8 AS known,
            greatest(0, extract(epoch FROM finalized_at - attempted_at))::float8 AS seconds, queue, priority::int
        FROM "{schema}".river_job
        WHERE state IN ('completed', 'discarded') AND finalized_at IS NOT NULL AND attempted_at IS NOT NULL
            AND finalized_at > now() - make_interval(secs => 3600 * $1::float8)
        ORDER BY finalized_at DESC LIMIT $2
    """


async def read(dsn: str, schema: str, hours: float) -> list[dict[str, Any]]:
    """Jobs that ended in the last hours: ``due``, ``known``, ``seconds``, ``queue`` and ``priority`` of each.

    Raises:
        StoreError: the database cannot be read.
    """
    connection = await connect(dsn)
    try:
        await connection.execute(f"SET statement_timeout = {int(READ_SECONDS * 1000)}")
        rows = await connection.fetch(history_sql(schema), hours, MOST_JOBS, timeout=READ_SECONDS + 5)
    except DATABASE_ERRORS as error:
        raise explain(error, dsn) from None
    finally:
        connection.terminate()
    return [dict(row) for row in rows]
