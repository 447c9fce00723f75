"""Inserting jobs: the one statement for one job or many, and the notifications that go with it.

Mirrors River's ``insert_opts.go`` and ``client.go`` (insert).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg

from rivermill.db import Connection, missing_table, unique_conflict
from rivermill.errors import ValidationError
from rivermill.insert_rows import InsertParams, Row, check_distinct, distinct, make_rows, resolve, sequence_of
from rivermill.job import JobRow, JobState
from rivermill.notify_limiter import NotifyLimiter
from rivermill.rows import job_columns, job_from_record
from rivermill.schema import Schema
from rivermill.sequences import Turns, waiting_cte

#: The rows to insert, one array a column; and where only their args differ, one value for each other column.
_ARRAYS = """
    SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::smallint[],
                         $6::text[], $7::timestamptz[], $8::text[], $9::text[], $10::bytea[], $11::int[])
        WITH ORDINALITY AS t (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags,
                              unique_key, unique_states, n)
"""
_ALIKE = """
    SELECT args, $2::text AS kind, $3::smallint AS max_attempts, $4::text AS metadata, $5::smallint AS priority,
           $6::text AS queue, $7::timestamptz AS scheduled_at, $8::text AS state, $9::text AS tags,
           $10::bytea AS unique_key, $11::int AS unique_states, n
    FROM unnest($1::text[]) WITH ORDINALITY AS t (args, n)
"""
_STORED = "job.id, job.args::text AS args, job.metadata::text AS metadata, job.created_at, job.scheduled_at"
#: Of what all rows have alike, as a rule, only the first has a value: reading it costs as much as sending the rows.
_BRIEFLY = ", ".join(
    f"CASE WHEN inserted.id = first.id OR inserted.{name} <> first.{name} THEN inserted.{name} END AS {name}"
    for name in ("metadata", "created_at", "scheduled_at")
)
_STORED_IN_SEQUENCE = f"{_STORED}, job.state::text AS state, false AS duplicate"
#: Rows of one COPY.
_PART = 250


class JobInsertResult:
    """What became of one job to insert. Mirrors River's ``JobInsertResult``.

    Args:
        job: the row.
        unique_skipped_as_duplicate: whether it existed; nothing was inserted then.

    Attributes:
        id: the job's id. What the client's methods return has it at once, while ``job`` is decoded when it is looked at.
        unique_skipped_as_duplicate: whether ``job`` is the existing row that holds the unique key.
    """

    __slots__ = ("_job", "id", "unique_skipped_as_duplicate")

    def __init__(self, job: JobRow, unique_skipped_as_duplicate: bool) -> None:
        self.id, self._job = job.id, job
        self.unique_skipped_as_duplicate = unique_skipped_as_duplicate

    def __repr__(self) -> str:
        return f"JobInsertResult({self.job!r}, unique_skipped_as_duplicate={self.unique_skipped_as_duplicate})"

    @property
    def job(self) -> JobRow:
        """The new row, or the existing one that holds the unique key."""
        return self._job


class _Undecoded(JobInsertResult):
    """A result whose row is made when it is looked at: most callers want ids at most.

    Args:
        job_id: the row's.
        decode: makes the row of the two that follow.
        stored: what the database returned.
        sent: what was sent to it.
        unique_skipped_as_duplicate: as there.
    """

    __slots__ = ("_decode", "_decoded", "_sent", "_stored")

    def __init__(
        self, job_id: int, decode: Callable[[Any, Row], JobRow], stored: Any, sent: Row, unique_skipped_as_duplicate: bool
    ) -> None:
        self.id = job_id
        self._decoded: JobRow | None = None
        self._decode, self._stored, self._sent = decode, stored, sent
        self.unique_skipped_as_duplicate = unique_skipped_as_duplicate

    @property
    def job(self) -> JobRow:
        if self._decoded is None:
            self._decoded = self._decode(self._stored, self._sent)
        return self._decoded


class Inserter:
    """Validates and inserts jobs.

    Args:
        schema: where River's tables are.
        max_attempts: the client's default.
        limiter: shared by all inserts of one client.
    """

    def __init__(self, schema: Schema, max_attempts: int, limiter: NotifyLimiter) -> None:
        self._max_attempts = max_attempts
        self._limiter = limiter
        self._channel = schema.channel("river_insert")
        self._schema = schema
        self._turns = Turns(schema)
        whole = f"{job_columns('job')}, job.xmax <> 0 AS duplicate"
        returning = {(False, False): _STORED, (False, True): _STORED_IN_SEQUENCE, (True, False): whole, (True, True): whole}
        self._statements = {
            (unique, alike, sequence): self._statement(
                _ALIKE if alike else _ARRAYS,
                self._on_conflict() if unique else "",
                stored,
                sequence=sequence,
                briefly=stored is _STORED,
            )
            for (unique, sequence), stored in returning.items()
            for alike in (False, True)
        }

    def _on_conflict(self) -> str:
        # The no-op update makes the existing row come back; its kind stays, which may differ from ours.
        in_bitmask = self._schema.table("river_job_state_in_bitmask")
        return f"""
            ON CONFLICT (unique_key)
                WHERE unique_key IS NOT NULL AND unique_states IS NOT NULL AND {in_bitmask}(unique_states, state)
                DO UPDATE SET kind = job.kind
        """

    def _statement(self, source: str, on_conflict: str, returning: str, *, sequence: bool, briefly: bool) -> str:
        # One statement, so one transaction: rows and notifications become visible together.
        return f"""
            WITH input AS (
                {source}
            ), inserted AS (
                INSERT INTO {self._schema.table("river_job")} AS job
                    (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states)
                SELECT args::jsonb, kind, max_attempts, metadata::jsonb, priority, queue, coalesce(scheduled_at, now()),
                       state::{self._schema.table("river_job_state")}, string_to_array(tags, ','), unique_key,
                       unique_states::bit(8)
                FROM input ORDER BY n
                {on_conflict}
                RETURNING {returning}
            ), notified AS (
                SELECT count(pg_notify($12, payload)) AS sent FROM unnest($13::text[]) AS payload
            ) {waiting_cte(self._schema) if sequence else ""}
            SELECT {f"inserted.id, inserted.args, {_BRIEFLY}" if briefly else "inserted.*"}
            FROM inserted, notified, (SELECT * FROM inserted ORDER BY id LIMIT 1) AS first ORDER BY inserted.id
        """

    async def insert(self, connection: Connection, jobs: Sequence[InsertParams]) -> list[JobInsertResult]:
        """Insert jobs in the connection's transaction, if it is in one; results come back in the order given.

        Raises:
            ValidationError: there are no jobs, one of them is not valid, or two have the same unique key; nothing is
                inserted then.
            MigrationError: one is in a sequence, and the schema has no tables for that.
        """
        rows = make_rows(jobs, self._max_attempts)
        some = distinct(rows)
        alike = len(some) == 1
        unique = any(row.unique_key is not None for row in some)
        if unique:
            check_distinct(rows)
        columns = ([row.args for row in rows], *rows[0][1:]) if alike else zip(*rows, strict=True)
        args = (*columns, self._channel, self._payloads(_due(some)))
        sequences = {key for row in some if (key := sequence_of(row)) is not None}
        if sequences:
            records = await self._insert_into(sequences, connection, self._statements[unique, alike, True], args)
        else:
            records = await connection.fetch(self._statements[unique, alike, False], *args)
        if unique:
            return _in_order(rows, records)
        decode = partial(_new_job, records[0])
        return [_Undecoded(record["id"], decode, record, row, False) for record, row in zip(records, rows, strict=True)]

    async def _insert_into(self, sequences: set[bytes], connection: Connection, sql: str, args: Sequence[Any]) -> list[Any]:
        """Insert jobs of sequences, and begin those in which it is nobody's turn; returns the rows as they are then."""
        with missing_table("a sequence needs tables that the schema lacks: run `rivermill migrate up`"):
            async with connection.transaction() if not connection.is_in_transaction() else nullcontext():
                records = await connection.fetch(sql, *args)
                up = await self._turns.begin(connection, sequences)
        return [{**record, "state": up.get(record["id"], record["state"])} for record in records]

    def resolve(self, jobs: Sequence[InsertParams]) -> list[InsertParams]:
        """The jobs with all options filled in; raises the ValidationError that inserting them would raise."""
        return resolve(jobs, self._max_attempts)

    async def insert_fast(self, connection: Connection, jobs: Sequence[InsertParams]) -> int:
        """Insert jobs by COPY, in the connection's transaction or one of its own; returns how many.

        Raises:
            ValidationError: there are no jobs, one of them is not valid, or is in a sequence.
            UniqueConflictError: a unique key is taken, or there twice; nothing is inserted then.
        """
        now, due = datetime.now(UTC), dict[str, None]()
        made = (self._records(jobs[first : first + _PART], now, due) for first in range(0, max(1, len(jobs)), _PART))
        within = connection.is_in_transaction()
        # What is not valid must not spoil the transaction of the caller.
        parts = list(made) if within else made
        async with nullcontext() if within else connection.transaction():
            with unique_conflict("insert_many_fast: a unique key is taken; insert_many skips duplicates"):
                await self._copy(connection, parts)
            payloads = self._payloads(due)
            if payloads:
                await connection.fetch(
                    "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", self._channel, payloads
                )
        return len(jobs)

    def _records(self, jobs: Sequence[InsertParams], now: datetime, due: dict[str, None]) -> list[tuple[Any, ...]]:
        """What to copy for some jobs; those of their queues in which one is due are added to ``due``."""
        rows = make_rows(jobs, self._max_attempts)
        some = distinct(rows)
        if any(sequence_of(row) is not None for row in some):
            raise ValidationError("insert_many_fast: it takes no jobs with a sequence; insert_many does")
        due |= _due(some)
        records = [_copied(row, now) for row in some]
        return records if len(some) == len(rows) else [(row.args, *records[0][1:]) for row in rows]

    async def _copy(self, connection: Connection, parts: Iterable[list[tuple[Any, ...]]]) -> None:
        """Copy records, of which each part is made while the database stores the one before."""
        storing: asyncio.Task[Any] | None = None
        try:
            for records in parts:
                if storing is not None:
                    await storing
                sent = asyncio.Event()
                storing = asyncio.create_task(self._copy_part(connection, records, sent), name="rivermill copy")
                await sent.wait()
            if storing is not None:
                await storing
        finally:
            if storing is not None:
                storing.cancel()
                # Whatever comes meanwhile: only then is the connection the caller's again. Its error is that of this, or less.
                await asyncio.gather(storing, return_exceptions=True)

    async def _copy_part(self, connection: Connection, records: Sequence[tuple[Any, ...]], sent: asyncio.Event) -> None:
        try:
            await connection.copy_records_to_table(
                "river_job",
                schema_name=self._schema.name,
                columns=Row._fields,
                records=_telling(records, sent, asyncio.get_running_loop()),
            )
        finally:
            sent.set()

    def _payloads(self, due: Iterable[str]) -> list[str]:
        return [f'{{"queue": {json.dumps(queue)}}}' for queue in self._limiter.admit(due)]


def _due(rows: Sequence[Row]) -> dict[str, None]:
    """The queues in which jobs are due with these."""
    return dict.fromkeys(row.queue for row in rows if row.state == JobState.AVAILABLE)


def _in_order(rows: Sequence[Row], records: Sequence[Any]) -> list[JobInsertResult]:
    """Join rows to what came back by id: those with a unique key by that, the others by the order of their new ids."""
    keyed = {record["unique_key"]: record for record in records if record["unique_key"] is not None}
    plain = iter([record for record in records if record["unique_key"] is None])
    found = [next(plain) if row.unique_key is None else keyed[row.unique_key] for row in rows]
    return [
        _Undecoded(record["id"], _whole_job, record, row, record["duplicate"]) for record, row in zip(found, rows, strict=True)
    ]


def _whole_job(stored: Any, _: Row) -> JobRow:
    """The row of a job of which the database has returned all columns."""
    return job_from_record(stored)


def _new_job(first: Any, stored: Any, row: Row) -> JobRow:
    """The row of a job that was inserted, from what was sent and what the database made of it, or of the first like it."""
    chosen = {"queue": row.queue, "kind": row.kind, "state": row.state, "priority": row.priority}
    limits = {"attempt": 0, "max_attempts": row.max_attempts, "tags": _tags(row)}
    unset = dict.fromkeys(("attempted_at", "finalized_at", "attempted_by", "errors", "unique_key", "unique_states"))
    own = {name: value for name, value in stored.items() if value is not None}
    return job_from_record({**chosen, **limits, **unset, **first, **own})


def _telling(
    records: Sequence[tuple[Any, ...]], sent: asyncio.Event, loop: asyncio.AbstractEventLoop
) -> Iterator[tuple[Any, ...]]:
    """The records; sets the event when the last one has been taken, which may be in another thread."""
    yield from records
    loop.call_soon_threadsafe(sent.set)


def _copied(row: Row, now: datetime) -> tuple[Any, ...]:
    states = None if row.unique_states is None else asyncpg.BitString.from_int(row.unique_states, 8)
    return (*row[:6], row.scheduled_at or now, row.state, _tags(row), row.unique_key, states)


def _tags(row: Row) -> list[str]:
    return row.tags.split(",") if row.tags else []
