"""Writes how attempts ended, in batches that clock themselves: the next goes out when the last has returned.

Small ones also keep a few milliseconds apart, since each costs a commit; the first after a pause goes out at once.

Both statements touch only rows that are still ``running`` for this very client. ``(state = 'running') IS TRUE`` keeps the
planner away from the index on state, where every dead ``running`` entry would be walked.
Mirrors River's ``internal/jobcompleter`` in effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import chain, islice
from typing import Any

from rivermill.db import DATABASE_ERRORS, Connection, SharedConnection, back_off, is_about_rows, is_refusal
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.rows import job_columns
from rivermill.schema import Schema

MAX_BATCH = 5_000
MAX_BACKLOG = 10_000
#: A batch smaller than ``_GOOD_BATCH`` goes out no sooner than this after the one before: what ends meanwhile goes with it.
_GATHER_SECONDS = 0.005
_GOOD_BATCH = 500
#: Statements of one flush that may fail for what they hold and are to be tried again: it may be the same for all.
_MOST_FAILURES = 100

#: Writes completions, all of one kind.
Write = Callable[[Connection, list[Any]], Awaitable[None]]

logger = logging.getLogger("rivermill.completer")


#: When an attempt ended: so many seconds ago. The database's clock at the statement's arrival, so that clocks may differ.
_ENDED = "statement_timestamp() - {} * interval '1 second'"


def plain_sql(schema: Schema) -> str:
    """Successes with nothing else to write: ``$1`` ids in order, ``$2`` client id, ``$3`` seconds since each ended."""
    # A search in the ordered ids, since a join with them would be a plan that depends on statistics.
    ended = _ENDED.format("($3::float8[])[width_bucket(id, $1::bigint[])]")
    return f"""
        UPDATE {schema.table("river_job")} SET state = 'completed', finalized_at = {ended}
        WHERE id = ANY($1::bigint[]) AND (state = 'running') IS TRUE
            AND attempted_by[array_upper(attempted_by, 1)] = $2
    """


def general_sql(schema: Schema) -> str:
    """Every other outcome: ``$1`` ids in order, then one array a column, ``$7`` client id, ``$8`` seconds since each ended.

    ``$9`` are the times at which they were claimed, null for any: what is tried again, since its answer was lost, may have made
    the job available, and by now it may run here once more.

    A job whose cancellation was asked for does not run again. Metadata is merged even when somebody else has finished the
    row meanwhile, and nothing else of it is touched then. Both as in River's ``JobSetStateIfRunningMany``.
    """
    table, enum = schema.table("river_job"), schema.table("river_job_state")
    return f"""
        WITH input AS (
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::text[], $5::timestamptz[], $6::text[],
                                 $8::float8[], $9::float8[])
                AS t (id, state, attempt, error, scheduled_at, metadata, age, claimed_at)
        ), locked AS (
            SELECT id, (state = 'running') IS TRUE AS running, metadata ? 'cancel_attempted_at' AS cancelled,
                date_part('epoch', attempted_at) AS claimed_at
            FROM {table}
            WHERE id = ANY($1::bigint[])
                AND attempted_by[array_upper(attempted_by, 1)] = $7
            ORDER BY id FOR UPDATE
        ), wanted AS (
            SELECT input.*, locked.running,
                locked.running AND locked.cancelled AND input.state IN ('available', 'retryable', 'scheduled') AS cancel
            FROM input JOIN locked USING (id)
            WHERE (locked.running OR input.metadata IS NOT NULL)
                AND (input.claimed_at IS NULL OR input.claimed_at = locked.claimed_at)
        )
        UPDATE {table} AS job SET
            state = CASE WHEN NOT wanted.running THEN job.state::text
                         WHEN wanted.cancel THEN 'cancelled' ELSE wanted.state END::{enum},
            finalized_at = CASE WHEN NOT wanted.running THEN job.finalized_at
                                WHEN wanted.cancel OR wanted.state IN ('cancelled', 'completed', 'discarded')
                                THEN {_ENDED.format("wanted.age")} END,
            attempt = CASE WHEN wanted.cancel OR NOT wanted.running THEN job.attempt
                           ELSE coalesce(wanted.attempt, job.attempt) END,
            scheduled_at = CASE WHEN wanted.cancel OR NOT wanted.running THEN job.scheduled_at
                                ELSE coalesce(wanted.scheduled_at, job.scheduled_at) END,
            errors = CASE WHEN wanted.error IS NULL OR NOT wanted.running THEN job.errors
                          ELSE array_append(job.errors, wanted.error::jsonb) END,
            metadata = CASE WHEN wanted.metadata IS NULL THEN job.metadata
                            ELSE job.metadata || wanted.metadata::jsonb END
        FROM wanted WHERE job.id = wanted.id
    """


class Completer:
    """Batches completions of one client.

    Args:
        shared: the connection to write on.
        schema: where River's tables are.
        client_id: the fence.
        metrics: where batches are counted.
        events: told what was written, where anybody wants to know.
        on_flushed: called after each batch of which something was written.

    Attributes:
        full: whether jobs that end must hold their slots: see ``wait_for_room``.
    """

    def __init__(
        self,
        shared: SharedConnection,
        schema: Schema,
        client_id: str,
        metrics: Metrics,
        events: JobEvents,
        on_flushed: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._client_id = client_id
        self._metrics = metrics
        self.events = events
        self._on_flushed = on_flushed
        self._plain_sql = plain_sql(schema)
        self._general_sql = general_sql(schema)
        self._plain: dict[int, float] = {}
        self._general: list[Completion] = []
        self._writing_plain: dict[int, float] = {}
        self._writing_general: list[Completion] = []
        self._prepared: dict[Write, Connection] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.full = False
        self._closing = False
        self._flushed_at = float("-inf")

    @property
    def backlog(self) -> int:
        """Completions that the database has not acknowledged."""
        return len(self._plain) + len(self._general) + len(self._writing_plain) + len(self._writing_general)

    def job_ids(self) -> list[int]:
        """The jobs whose completions the database has not acknowledged."""
        general = (completion.job_id for completion in (*self._general, *self._writing_general))
        return [*self._plain, *self._writing_plain, *general]

    async def wait_for_room(self) -> None:
        """Wait while the backlog is full."""
        while not self._room.is_set():
            await self._room.wait()

    def succeeded(self, job_id: int, ended_at: float) -> None:
        """Take a success with nothing else to write, whatever the backlog; it ended at these monotonic seconds."""
        self._plain[job_id] = ended_at
        if len(self._plain) == 1 or len(self._plain) >= MAX_BACKLOG:
            self._taken()

    def add(self, completion: Completion) -> None:
        """Take a completion, whatever the backlog."""
        if completion.plain:
            self._plain[completion.job_id] = completion.ended_at
        else:
            self._general.append(completion)
        self._taken()

    def _taken(self) -> None:
        self._wake.set()
        if len(self._plain) + len(self._general) >= MAX_BACKLOG:
            self._room.clear()
            self.full = True

    def close(self) -> None:
        """Let ``run`` return once everything taken so far is written."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write batches until closed. What could not be written stays in the backlog and is tried again."""
        failures = 0
        while not (self._closing and not self._plain and not self._general):
            await self._wake.wait()
            self._wake.clear()
            while self._plain or self._general:
                await self._gather()
                if await self._flush():
                    failures = 0
                else:
                    failures += 1
                    await asyncio.sleep(back_off(failures))

    async def _gather(self) -> None:
        delay = self._flushed_at + _GATHER_SECONDS - time.monotonic()
        if delay > 0 and len(self._plain) + len(self._general) < _GOOD_BATCH:
            await asyncio.sleep(delay)
        self._flushed_at = time.monotonic()

    async def _flush(self) -> bool:
        plain = iter(self._plain.items())
        self._writing_plain, self._plain = dict(islice(plain, MAX_BATCH)), dict(plain)
        self._writing_general, self._general = self._general[:MAX_BATCH], self._general[MAX_BATCH:]
        size = len(self._writing_plain) + len(self._writing_general)
        try:
            await self._write()
        finally:
            # Nothing is left of what was written; the rest is tried again, and last: it may fail for ever.
            left = len(self._writing_plain) + len(self._writing_general)
            self._plain |= self._writing_plain
            self._general += self._writing_general
            self._writing_plain, self._writing_general = {}, []
        if self.backlog < MAX_BACKLOG // 2:
            self._room.set()
            self.full = False
        if left < size:
            self._on_flushed()
        return not left

    async def _write(self) -> None:
        """Write a batch; what the database does not have yet is left of each part."""
        started = time.monotonic()
        size = len(self._writing_plain) + len(self._writing_general)
        if ended := self._writing_plain:
            left = await self._write_apart(self._write_plain, list(ended))
            self._writing_plain = {job_id: ended[job_id] for job_id in left}
        if self._writing_general:
            self._writing_general = await self._write_apart(self._write_general, self._writing_general)
        if written := size - len(self._writing_plain) - len(self._writing_general):
            self._metrics.completion_batch.observe(written)
            self._metrics.completion_seconds.observe(time.monotonic() - started)

    async def _write_apart(self, write: Write, batch: list[Any]) -> list[Any]:
        """Write a batch, in halves where something in it fails, so that one outcome spoils no other.

        Returns:
            What is to be tried again: first what was not tried by itself, then what failed.
        """
        parts, failed, failures = [batch], list[Any](), 0
        reason: BaseException | None = None
        while parts:
            part = parts.pop()
            try:
                # A turn each: behind a pooler a turn is a transaction, and what is in one is written at its end.
                async with self._shared.acquire() as connection:
                    if self._prepared.get(write) is not connection:
                        # Nothing at first: it says how long ago jobs ended, and preparing it takes milliseconds.
                        await write(connection, [])
                        self._prepared[write] = connection
                    await write(connection, part)
            except DATABASE_ERRORS as error:
                reason, final = error, is_refusal(error)
                failures += not final
                if failures > _MOST_FAILURES or not is_about_rows(error):
                    parts.append(part)
                    break
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                elif final:
                    self._give_up(part[0], error)
                else:
                    failed += part
        left = [*chain.from_iterable(reversed(parts)), *failed]
        if left:
            logger.warning("completions wait for the database", extra={"jobs": len(left), "error": str(reason)})
        return left

    def _give_up(self, refused: Completion | int, error: BaseException) -> None:
        # Nothing more can be done here: the row stays running and the rescuer finds it.
        job_id = refused.job_id if isinstance(refused, Completion) else refused
        logger.error("the database refuses this completion", exc_info=error, extra={"job_id": job_id})
        self._metrics.completions_refused.inc()

    async def _write_plain(self, connection: Connection, ids: list[int]) -> None:
        ids = sorted(ids)  # so that two writers never wait for each other in a circle
        now, ended = time.monotonic(), self._writing_plain
        args = (ids, self._client_id, [now - ended[job_id] for job_id in ids])
        if self.events.wanted:
            sql = f"{self._plain_sql} RETURNING {job_columns()}"
            await self.events.write(connection, sql, args, dict.fromkeys(ids, "completed"))
        else:
            await connection.execute(self._plain_sql, *args)

    async def _write_general(self, connection: Connection, batch: list[Completion]) -> None:
        batch = sorted(batch, key=lambda completion: completion.job_id)
        now = time.monotonic()
        args = (
            [c.job_id for c in batch],
            [c.state.value for c in batch],
            [c.attempt for c in batch],
            [c.error for c in batch],
            [c.scheduled_at for c in batch],
            [c.metadata for c in batch],
            self._client_id,
            [now - c.ended_at for c in batch],
            [c.claimed_at for c in batch],
        )
        if self.events.wanted:
            sql = f"{self._general_sql} RETURNING {job_columns('job')}"
            await self.events.write(connection, sql, args, {c.job_id: c.outcome for c in batch})
        else:
            await connection.execute(self._general_sql, *args)
