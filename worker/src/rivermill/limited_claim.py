"""Claims from a queue whose jobs are limited: never one more than may run, however many clients claim at once.

The queue's row is locked before anything is counted, and the count is a statement of its own in the same transaction. So it
sees all that was claimed before: whoever claimed earlier held the lock until that was committed, and nobody claims in the
meantime. What ends in the meantime only leaves more room. In one statement this could not be said: it would count what there
was before it waited for the lock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rivermill.claims import claim_sql, claiming
from rivermill.db import Connection
from rivermill.limits import KEY, read_concurrency
from rivermill.schema import Schema

#: Available jobs that are looked at for those whose part of the queue has room.
_WINDOW = 1_000
_UNLIMITED = 2**31 - 1


def limited_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """As ``claim_sql``, within limits: ``$5`` for all clients, ``$6`` for each, by kind if ``$7``, by the args ``$8``.

    ``$8`` is null for no args, and empty for all. Jobs of parts that are full are passed over, and no part gets more than it
    has room for.
    """
    table = schema.table("river_job")
    kinds = " AND kind = ANY($4::text[])" if known_kinds else " AND $4::text[] IS NULL"
    part = """
        jsonb_build_array(CASE WHEN $7::bool THEN kind END, CASE
            WHEN $8::text[] IS NULL THEN NULL
            WHEN cardinality($8::text[]) = 0 THEN args
            ELSE (SELECT jsonb_agg(args -> name ORDER BY name) FROM unnest($8::text[]) AS name) END)
    """
    ids = f"""
        WITH running AS MATERIALIZED (
            SELECT {part} AS part, count(*) AS everywhere,
                count(*) FILTER (WHERE attempted_by[array_upper(attempted_by, 1)] = $3) AS here
            FROM {table} WHERE state = 'running' AND queue = $1 GROUP BY 1
        ), candidates AS MATERIALIZED (
            SELECT id, priority, scheduled_at, {part} AS part FROM {table}
            WHERE state = 'available' AND queue = $1 AND scheduled_at <= now(){kinds}
                AND {part} NOT IN (SELECT part FROM running WHERE everywhere >= $5::int OR here >= $6::int)
            ORDER BY priority, scheduled_at, id LIMIT {_WINDOW}
        ), ranked AS (
            SELECT id, priority, scheduled_at, part,
                row_number() OVER (PARTITION BY part ORDER BY priority, scheduled_at, id) AS rank
            FROM candidates
        ), chosen AS (
            SELECT id FROM ranked LEFT JOIN running USING (part)
            WHERE rank <= least($5::int - coalesce(everywhere, 0), $6::int - coalesce(here, 0))
            ORDER BY priority, scheduled_at, id LIMIT $2
        )
        SELECT id FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND (state = 'available') IS TRUE
        FOR UPDATE SKIP LOCKED
    """
    return claiming(schema, ids)


class LimitedClaim:
    """Claims for one client.

    Args:
        schema: where River's tables are.
        client_id: who claims.
        kinds: the only kinds to claim; None is all.
    """

    def __init__(self, schema: Schema, client_id: str, kinds: Sequence[str] | None) -> None:
        self._client_id = client_id
        self._kinds = None if kinds is None else list(kinds)
        self._lock_sql = (
            f"SELECT (metadata -> '{KEY}')::text FROM {schema.table('river_queue')} WHERE name = $1 FOR NO KEY UPDATE"
        )
        self._limited_sql = limited_sql(schema, known_kinds=kinds is not None)
        self._plain_sql = claim_sql(schema, known_kinds=kinds is not None)

    async def fetch(self, connection: Connection, queue: str, count: int) -> list[Any]:
        """Claim up to ``count`` jobs of a queue within the limits that its row has now."""
        # Each statement needs a view of its own, whatever the database's default.
        async with connection.transaction(isolation="read_committed"):
            text = await connection.fetchval(self._lock_sql, queue)
            limits = read_concurrency(json.loads(text)) if text else None
            if limits is None:
                kinds = [] if self._kinds is None else [self._kinds]
                return list(await connection.fetch(self._plain_sql, queue, count, self._client_id, *kinds))
            names = None if limits.by_args is False else [] if limits.by_args is True else list(limits.by_args)
            records = await connection.fetch(
                self._limited_sql,
                queue,
                count,
                self._client_id,
                self._kinds,
                limits.global_limit or _UNLIMITED,
                limits.local_limit or _UNLIMITED,
                limits.by_kind,
                names,
            )
            return list(records)
