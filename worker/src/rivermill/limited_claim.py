"""Claims from a queue whose jobs are limited: never one more than may run or start, however many clients claim at once.

The queue's row is locked before anything is counted, and the count is a statement of its own in the same transaction. So it
sees all that was claimed before: whoever claimed earlier held the lock until that was committed, and nobody claims in the
meantime. What ends in the meantime only leaves more room. In one statement this could not be said: it would count what there
was before it waited for the lock.

Starts are counted in ``rivermill_rate`` by the statement that claims, so a count is there if and only if its jobs are claimed.
Its time is that of the statement: a transaction's is older than its wait for the lock.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from rivermill.claims import claim_sql, claiming, of_kinds
from rivermill.db import Connection
from rivermill.limits import KEY, RATE_KEY, Concurrency, RateLimit, read_concurrency, read_rate_limit
from rivermill.schema import Schema

#: Available jobs that are looked at for those whose part of the queue has room.
_WINDOW = 1_000
_UNLIMITED = 2**31 - 1
_NOW = "statement_timestamp()"
#: The beginning of the period that is now, of length ``$10``.
_PERIOD = f"date_bin($10::interval, {_NOW}, to_timestamp(0))"

logger = logging.getLogger("rivermill.limits")


@dataclass(frozen=True, slots=True)
class LimitedClaims:
    """What a claim from a limited queue brought.

    Attributes:
        records: the jobs.
        ends_make_room: whether jobs may run once others have ended.
        opens_after: seconds until more jobs may start, where a rate limit is used up for the queue or a part of it.
        closed: whether no job of the queue may start before that.
    """

    records: list[Any]
    ends_make_room: bool = True
    opens_after: float | None = None
    closed: bool = False


def limited_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """As ``claim_sql``, within limits: ``$5`` for all clients, ``$6`` for each, by kind if ``$7``, by the args ``$8``.

    ``$8`` is null for no args, and empty for all. Jobs of parts that are full are passed over, and no part gets more than it
    has room for.
    """
    return claiming(schema, _chosen_sql(schema, known_kinds=known_kinds, rated=False), now=_NOW)


def rated_sql(schema: Schema, *, known_kinds: bool = False) -> str:
    """As ``limited_sql``, and within a rate: ``$9`` starts in each period ``$10``, by kind if ``$11``, by the args ``$12``.

    One row at least, without an id if nothing is claimed. In each are the seconds to the next period (``rate_seconds``), and
    whether the queue or a part of it is at its limit (``rate_full``).
    """
    rate = schema.table("rivermill_rate")
    chosen = _chosen_sql(schema, known_kinds=known_kinds, rated=True)
    return f"""
        WITH started AS MATERIALIZED (
            SELECT part AS rate_part, started FROM {rate} WHERE queue = $1 AND period_start = {_PERIOD}
        ), claimed AS (
            {claiming(schema, chosen, now=_NOW)}, {_rate_part()} AS rate_part
        ), counted AS (
            INSERT INTO {rate} AS rate (queue, part, period_start, started)
            SELECT $1, rate_part, {_PERIOD}, count(*) FROM claimed GROUP BY rate_part
            ON CONFLICT (queue, part, period_start) DO UPDATE SET started = rate.started + excluded.started
            RETURNING started
        ), swept AS (
            DELETE FROM {rate} WHERE queue = $1 AND period_start < {_PERIOD}
        )
        SELECT claimed.*, extract(epoch FROM {_PERIOD} + $10::interval - {_NOW})::float8 AS rate_seconds,
            EXISTS (SELECT FROM started WHERE started >= $9::int) OR EXISTS (SELECT FROM counted WHERE started >= $9::int)
                AS rate_full
        FROM (SELECT) AS one LEFT JOIN claimed ON true
    """


def _part(by_kind: str, by_args: str) -> str:
    """The part of a queue that a job belongs to, where two parameters say how it is partitioned."""
    return f"""
        jsonb_build_array(CASE WHEN {by_kind}::bool THEN kind END, CASE
            WHEN {by_args}::text[] IS NULL THEN NULL
            WHEN cardinality({by_args}::text[]) = 0 THEN args
            ELSE (SELECT jsonb_agg(args -> name ORDER BY name) FROM unnest({by_args}::text[]) AS name) END)
    """


def _rate_part() -> str:
    # A digest, since args may be larger than the key of an index.
    return f"sha256(convert_to({_part('$11', '$12')}::text, 'UTF8'))"


def _chosen_sql(schema: Schema, *, known_kinds: bool, rated: bool) -> str:
    """The ids of jobs to claim, locked; with ``rated`` there is a query ``started`` around it."""
    table = schema.table("river_job")
    kinds = of_kinds(4) if known_kinds else " AND $4::text[] IS NULL"
    part, full = _part("$7", "$8"), "everywhere >= $5::int OR here >= $6::int"
    columns, open_rate, rank, join, within = "", "", "", "", ""
    if rated:
        columns, join = f", {_rate_part()} AS rate_part", "LEFT JOIN started USING (rate_part)"
        open_rate = _open("started", "rate_part", _rate_part(), "started >= $9::int", ("$11", "$12"))
        rank = ", row_number() OVER (PARTITION BY rate_part ORDER BY priority, scheduled_at, id) AS rate_rank"
        within = "AND rate_rank <= $9::int - coalesce(started, 0)"
    return f"""
        WITH running AS MATERIALIZED (
            SELECT {part} AS part, count(*) AS everywhere,
                count(*) FILTER (WHERE attempted_by[array_upper(attempted_by, 1)] = $3) AS here
            FROM {table} WHERE state = 'running' AND queue = $1 AND least($5::int, $6::int) < {_UNLIMITED} GROUP BY 1
        ), candidates AS MATERIALIZED (
            SELECT id, priority, scheduled_at, {part} AS part{columns} FROM {table}
            WHERE state = 'available' AND queue = $1 AND scheduled_at <= {_NOW}{kinds}
                {_open("running", "part", part, full, ("$7", "$8"))} {open_rate}
            ORDER BY priority, scheduled_at, id LIMIT {_WINDOW}
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY part ORDER BY priority, scheduled_at, id) AS rank{rank}
            FROM candidates
        ), chosen AS (
            SELECT id FROM ranked LEFT JOIN running USING (part) {join}
            WHERE rank <= least($5::int - coalesce(everywhere, 0), $6::int - coalesce(here, 0)) {within}
            ORDER BY priority, scheduled_at, id LIMIT $2
        )
        SELECT id FROM {table} WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND (state = 'available') IS TRUE
        FOR UPDATE SKIP LOCKED
    """


def _open(counts: str, column: str, part: str, full: str, partition: tuple[str, str]) -> str:
    """Conditions that leave out jobs of full parts; where there are no parts, all at once, without a look at any job."""
    by_kind, by_args = partition
    return f"""
        AND ({by_kind}::bool OR {by_args}::text[] IS NOT NULL OR NOT EXISTS (SELECT FROM {counts} WHERE {full}))
        AND {part} NOT IN (SELECT {column} FROM {counts} WHERE {full})
    """


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
            f"SELECT (metadata -> '{KEY}')::text AS concurrency, (metadata -> '{RATE_KEY}')::text AS rate "
            f"FROM {schema.table('river_queue')} WHERE name = $1 FOR NO KEY UPDATE"
        )
        self._limited_sql = limited_sql(schema, known_kinds=kinds is not None)
        self._rated_sql = rated_sql(schema, known_kinds=kinds is not None)
        self._plain_sql = claim_sql(schema, known_kinds=kinds is not None)

    async def fetch(self, connection: Connection, queue: str, count: int) -> LimitedClaims:
        """Claim up to ``count`` jobs of a queue within the limits that its row has now."""
        try:
            # Each statement needs a view of its own, whatever the database's default.
            async with connection.transaction(isolation="read_committed"):
                row = await connection.fetchrow(self._lock_sql, queue)
                concurrency = read_concurrency(_value(row, "concurrency"))
                rate = read_rate_limit(_value(row, "rate"))
                return await self._within(connection, queue, count, concurrency, rate)
        except asyncpg.UndefinedTableError as error:
            message = "a queue with a rate limit needs the table rivermill_rate: run `rivermill migrate up`"
            logger.warning(message, extra={"queue": queue, "error": str(error)})
            return LimitedClaims([], closed=True)

    async def _within(
        self, connection: Connection, queue: str, count: int, concurrency: Concurrency | None, rate: RateLimit | None
    ) -> LimitedClaims:
        args = [queue, count, self._client_id]
        if concurrency is None and rate is None:
            kinds = [] if self._kinds is None else [self._kinds]
            return LimitedClaims(list(await connection.fetch(self._plain_sql, *args, *kinds)))
        args += [self._kinds, *_concurrency_args(concurrency)]
        if rate is None:
            return LimitedClaims(list(await connection.fetch(self._limited_sql, *args)))
        records = await connection.fetch(self._rated_sql, *args, rate.limit, rate.period, rate.by_kind, _names(rate.by_args))
        full: bool = records[0]["rate_full"]
        return LimitedClaims(
            [record for record in records if record["id"] is not None],
            ends_make_room=concurrency is not None,
            opens_after=records[0]["rate_seconds"] if full else None,
            closed=full and not rate.partitioned,
        )


def _value(row: Any, name: str) -> Any:
    return json.loads(row[name]) if row is not None and row[name] else None


def _concurrency_args(limits: Concurrency | None) -> tuple[Any, ...]:
    if limits is None:
        return _UNLIMITED, _UNLIMITED, False, None
    most, here = limits.global_limit or _UNLIMITED, limits.local_limit or _UNLIMITED
    return most, here, limits.by_kind, _names(limits.by_args)


def _names(by_args: bool | Sequence[str]) -> list[str] | None:
    if isinstance(by_args, bool):
        return [] if by_args else None
    return list(by_args)
