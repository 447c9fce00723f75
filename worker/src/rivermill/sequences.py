"""Sequences: jobs that run one at a time, in the order of their ids.

Jobs of a sequence are ``pending``, which nobody claims, until their turn. ``rivermill_sequence`` has a row for each sequence
that has jobs: the job whose turn it is. Those that wait are in ``rivermill_sequence_job``.

Two rules keep two jobs from being up at once. A turn begins by inserting the row, of which the primary key allows one. It is
given on only by who holds the row's lock and sees, in a statement that begins after that, that its job is over. So what waits
is looked at after the lock, too: all that was committed by then is seen, and the lowest id has the next turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rivermill.db import Connection
from rivermill.errors import ValidationError
from rivermill.schema import Schema
from rivermill.unique import Unique, check_paths, unique_key

#: In a job's metadata: its sequence, in hexadecimal digits, and the states besides ``completed`` after which that goes on.
KEY, CONTINUE_ON = "rivermill:sequence_key", "rivermill:sequence_continue_on"
#: Jobs that are over already when their turn comes, and are passed over at once; a next look finds the rest.
_MOST_PASSED = 100
_MOST_FOUND = 500


@dataclass(frozen=True, slots=True)
class SequenceOpts:
    """Which jobs run one after another; the kind always counts unless ``exclude_kind``. Mirrors River Pro's ``SequenceOpts``.

    Args:
        by_args: True for all args, or the paths of the members that count, as in ``Unique``.
        by_queue: each queue has a sequence of its own.
        continue_on_cancelled: the sequence goes on after this job even if it is cancelled.
        continue_on_discarded: the same if it is discarded.
        exclude_kind: across kinds; needs ``by_args`` or ``by_queue``.

    Raises:
        ValidationError: a value is not one of these.
    """

    by_args: bool | Sequence[str | tuple[str, ...]] = False
    by_queue: bool = False
    continue_on_cancelled: bool = False
    continue_on_discarded: bool = False
    exclude_kind: bool = False

    def __post_init__(self) -> None:
        if self.exclude_kind and not (self.by_args or self.by_queue):
            raise ValidationError("sequence exclude_kind=True: combine it with by_args or by_queue")
        check_paths("sequence by_args", self.by_args)

    def paths(self) -> list[tuple[str, ...]]:
        """The selected members; empty for all args."""
        return self._like.paths()

    @property
    def _like(self) -> Unique:
        return Unique(by_args=self.by_args, by_queue=self.by_queue, exclude_kind=self.exclude_kind)

    def metadata(self, *, kind: str, args: str, queue: str) -> dict[str, Any]:
        """What a job's metadata say of its sequence.

        Args:
            kind: the job's kind.
            args: its args as ``encode_args`` gives them.
            queue: its queue.

        Raises:
            ValidationError: all args count and they are not an object.
        """
        digest = unique_key(self._like, kind=kind, args=args, queue=queue, at=datetime.now(UTC))
        states = {"cancelled": self.continue_on_cancelled, "discarded": self.continue_on_discarded}
        goes_on = [state for state, chosen in states.items() if chosen]
        return {KEY: digest.hex(), **({CONTINUE_ON: goes_on} if goes_on else {})}


def key_in(metadata: str) -> bytes | None:
    """The sequence that a job's metadata name; None for none. As good as free where there is none."""
    if KEY not in metadata:
        return None
    try:
        return bytes.fromhex(json.loads(metadata)[KEY])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None  # somebody else's metadata


def waiting_cte(schema: Schema) -> str:
    """To stand behind a query ``inserted``: the jobs of it that are to wait for their turn."""
    return f"""
        , waiting AS (
            INSERT INTO {schema.table("rivermill_sequence_job")} (key, job_id)
            SELECT decode(metadata::jsonb ->> '{KEY}', 'hex'), id FROM inserted
            WHERE state = 'pending' AND metadata::jsonb ? '{KEY}' AND NOT duplicate
        )
    """


def begin_sql(schema: Schema) -> str:
    """Begin the sequences ``$1`` in which it is nobody's turn; ``$2`` is the channel of inserts. The jobs that are up."""
    turns, waiting = schema.table("rivermill_sequence"), schema.table("rivermill_sequence_job")
    return f"""
        WITH next AS (
            SELECT wanted.key, first.job_id, first.place FROM unnest($1::bytea[]) AS wanted (key)
            CROSS JOIN LATERAL ({_first(schema, "wanted")}) AS first
        ), turn AS (
            INSERT INTO {turns} (key, job_id) SELECT key, job_id FROM next ORDER BY key
            ON CONFLICT (key) DO NOTHING RETURNING key, job_id
        ), taken AS (
            DELETE FROM {waiting} WHERE ctid = ANY(ARRAY(SELECT place FROM next JOIN turn USING (key)))
        ), {_up(schema, "SELECT job_id FROM turn")}
        SELECT up.id, up.state::text AS state, (SELECT sent FROM told) FROM up
    """


def lock_sql(schema: Schema) -> str:
    """Lock those of the sequences ``$1`` that have jobs."""
    return f"SELECT key FROM {schema.table('rivermill_sequence')} WHERE key = ANY($1::bytea[]) ORDER BY key FOR UPDATE"


def advance_sql(schema: Schema) -> str:
    """Give on the turn in those of the sequences ``$1``, all locked, in which it is over; ``$2`` is the channel of inserts.

    One row: the sequences whose next job could not be put up (``passed``), and the queues of those that could (``queues``).
    """
    turns, waiting = schema.table("rivermill_sequence"), schema.table("rivermill_sequence_job")
    return f"""
        WITH turn AS MATERIALIZED (
            SELECT turn.key, {_over("job")} AS is_over, job.id AS job_id, job.state = 'pending' AS pending
            FROM {turns} AS turn LEFT JOIN LATERAL ({_job(schema)}) AS job ON true WHERE turn.key = ANY($1::bytea[])
        ), next AS MATERIALIZED (
            SELECT turn.key, first.job_id, first.place
            FROM turn LEFT JOIN LATERAL ({_first(schema, "turn")}) AS first ON true WHERE is_over
        ), given AS (
            UPDATE {turns} AS turn SET job_id = next.job_id FROM next WHERE turn.key = next.key AND next.job_id IS NOT NULL
        ), ended AS (
            DELETE FROM {turns} AS turn USING next WHERE turn.key = next.key AND next.job_id IS NULL
        ), taken AS (
            DELETE FROM {waiting} WHERE ctid = ANY(ARRAY(SELECT place FROM next))
        ), {_up(schema, "SELECT job_id FROM next UNION ALL SELECT job_id FROM turn WHERE pending")}
        SELECT ARRAY(SELECT key FROM next WHERE job_id IS NOT NULL AND job_id NOT IN (SELECT id FROM up)) AS passed,
            ARRAY(SELECT DISTINCT queue FROM up WHERE state = 'available') AS queues, (SELECT sent FROM told)
    """


def up_sql(schema: Schema) -> str:
    """The job whose turn it is in the sequence ``$1``, if it is available and not one of ``$2``."""
    return f"""
        SELECT job_id FROM {schema.table("rivermill_sequence")} AS turn JOIN {schema.table("river_job")} AS job
            ON job.id = turn.job_id
        WHERE turn.key = $1::bytea AND job.state = 'available' AND job.id <> ALL($2::bigint[])
    """


def find_sql(schema: Schema) -> str:
    """Sequences in which something is to be done: ``begun``, or the turn given on.

    Turns whose job is over or, since it was locked then, still pending; and jobs that wait though it is nobody's turn: they
    were inserted while the turn before them ended, and neither transaction saw the other.
    """
    turns, waiting = schema.table("rivermill_sequence"), schema.table("rivermill_sequence_job")
    return f"""
        WITH RECURSIVE keys AS (
            (SELECT key FROM {waiting} ORDER BY key LIMIT 1)
            UNION ALL
            SELECT (SELECT key FROM {waiting} AS later WHERE later.key > keys.key ORDER BY key LIMIT 1)
            FROM keys WHERE keys.key IS NOT NULL
        )
        (SELECT turn.key, true AS begun FROM {turns} AS turn LEFT JOIN LATERAL ({_job(schema)}) AS job ON true
         WHERE {_over("job")} OR job.state = 'pending' LIMIT {_MOST_FOUND})
        UNION ALL
        (SELECT key, false FROM keys
         WHERE key IS NOT NULL AND NOT EXISTS (SELECT FROM {turns} AS turn WHERE turn.key = keys.key) LIMIT {_MOST_FOUND})
    """


def _first(schema: Schema, sequence: str) -> str:
    # Its place, so that it is deleted without a join whose plan depends on statistics; nobody ever updates it.
    return f"""
        SELECT job_id, ctid AS place FROM {schema.table("rivermill_sequence_job")} AS waiting
        WHERE waiting.key = {sequence}.key ORDER BY job_id LIMIT 1
    """


def _job(schema: Schema) -> str:
    # The limit keeps the planner from joining all jobs.
    return f"SELECT id, state, metadata FROM {schema.table('river_job')} WHERE id = turn.job_id LIMIT 1"


def _over(job: str) -> str:
    """Whether the turn of a job is over; it is null where the job has been deleted."""
    return f"""
        ({job}.id IS NULL OR {job}.state = 'completed'
         OR ({job}.state IN ('cancelled', 'discarded')
             AND coalesce({job}.metadata -> '{CONTINUE_ON}' ? {job}.state::text, false)))
    """


def _up(schema: Schema, ids: str) -> str:
    """Queries that put pending jobs up (``up``) and notify (``told``); one that somebody has locked stays until a next look."""
    job, enum = schema.table("river_job"), schema.table("river_job_state")
    return f"""
        up AS (
            UPDATE {job} SET state = (CASE WHEN scheduled_at <= now() THEN 'available' ELSE 'scheduled' END)::{enum}
            WHERE id = ANY(ARRAY(
                SELECT id FROM {job} WHERE id = ANY(ARRAY({ids})) AND (state = 'pending') IS TRUE
                ORDER BY id FOR UPDATE SKIP LOCKED))
            RETURNING id, queue, state
        ), told AS (
            SELECT count(pg_notify($2, json_build_object('queue', queue)::text)) AS sent
            FROM (SELECT DISTINCT queue FROM up WHERE state = 'available') AS queues
        )
    """


class Turns:
    """Gives turns; each method takes the connection to run on."""

    def __init__(self, schema: Schema) -> None:
        self._channel = schema.channel("river_insert")
        self._begin_sql = begin_sql(schema)
        self._lock_sql = lock_sql(schema)
        self._advance_sql = advance_sql(schema)
        self._find_sql = find_sql(schema)
        self._up_sql = up_sql(schema)

    async def begin(self, connection: Connection, keys: Iterable[bytes]) -> dict[int, str]:
        """Begin those sequences in which it is nobody's turn; returns the states of the jobs whose turn it is now.

        Whoever has begun one of them in a transaction that is open is waited for.
        """
        records = await connection.fetch(self._begin_sql, sorted(set(keys)), self._channel)
        return {record["id"]: record["state"] for record in records}

    async def advance(self, connection: Connection, keys: Iterable[bytes]) -> set[str]:
        """Give on the turn where it is over, in a transaction of its own; returns the queues that jobs are due in now."""
        # Each statement needs a view of its own, whatever the database's default.
        async with connection.transaction(isolation="read_committed"):
            return await self._advance(connection, keys)

    async def next_up(self, connection: Connection, key: bytes, worked: Sequence[int]) -> int | None:
        """Give on the turn of one sequence where it is over; returns the job that is up in it, unless that was worked already.

        In the caller's transaction, if the connection is in one.
        """
        async with connection.transaction() if not connection.is_in_transaction() else nullcontext():
            await self._advance(connection, [key])
        record = await connection.fetchrow(self._up_sql, key, list(worked))
        return None if record is None else int(record["job_id"])

    async def _advance(self, connection: Connection, keys: Iterable[bytes]) -> set[str]:
        queues: set[str] = set()
        locked = [record["key"] for record in await connection.fetch(self._lock_sql, sorted(set(keys)))]
        for _ in range(_MOST_PASSED):
            if not locked:
                break
            record = await connection.fetchrow(self._advance_sql, locked, self._channel)
            queues.update(record["queues"])
            locked = record["passed"]
        return queues

    async def find(self, connection: Connection) -> tuple[list[bytes], list[bytes]]:
        """Sequences to advance, and sequences to begin."""
        records = await connection.fetch(self._find_sql)
        return [r["key"] for r in records if r["begun"]], [r["key"] for r in records if not r["begun"]]
