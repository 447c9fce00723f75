"""Deletes finished jobs and forgotten queues after their retention.

Mirrors River's ``job_cleaner.go`` and ``queue_cleaner.go``.
"""

from __future__ import annotations

from datetime import timedelta

from rivermill.db import Connection
from rivermill.limits import LIMITED_SQL
from rivermill.schema import Schema

QUEUE_RETENTION = timedelta(hours=24)


async def clean_jobs(
    connection: Connection,
    schema: Schema,
    *,
    completed: timedelta | None,
    cancelled: timedelta | None,
    discarded: timedelta | None,
    timeout: timedelta | None = None,
    limit: int = 1_000,
) -> int:
    """Delete up to ``limit`` finished jobs of each state past its retention (None keeps them); returns how many.

    Args:
        connection: what to run on.
        schema: where River's tables are.
        completed: retention of completed jobs.
        cancelled: retention of cancelled jobs.
        discarded: retention of discarded jobs.
        timeout: the most one statement may take; None leaves it to the connection.
        limit: rows a statement.
    """
    table = schema.table("river_job")
    seconds = None if timeout is None else timeout.total_seconds()
    deleted = 0
    for state, retention in (("completed", completed), ("cancelled", cancelled), ("discarded", discarded)):
        if retention is None:
            continue
        sql = f"""
            DELETE FROM {table} WHERE id = ANY(ARRAY(
                SELECT id FROM {table}
                WHERE state = '{state}' AND finalized_at IS NOT NULL AND finalized_at < now() - $1::interval
                ORDER BY finalized_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ))
        """
        deleted += int((await connection.execute(sql, retention, limit, timeout=seconds)).rpartition(" ")[2])
    return deleted


async def clean_queues(connection: Connection, schema: Schema, *, limit: int = 1_000) -> int:
    """Delete up to ``limit`` rows of queues that no client has worked for a day; returns how many.

    Queues with limits stay, unlike in River: a fleet that was scaled to zero keeps to them when it comes back.
    """
    table = schema.table("river_queue")
    forgotten = f"updated_at < now() - $1::interval AND NOT {LIMITED_SQL}"
    sql = f"""
        DELETE FROM {table} WHERE name = ANY(ARRAY(
            SELECT name FROM {table} WHERE {forgotten} ORDER BY name LIMIT $2 FOR UPDATE SKIP LOCKED
        )) AND {forgotten}
    """
    return int((await connection.execute(sql, QUEUE_RETENTION, limit)).rpartition(" ")[2])
