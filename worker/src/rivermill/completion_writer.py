"""Writes batches of outcomes, in parts where something in them fails, so that one outcome spoils no other."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any

from rivermill.completions import general_sql, plain_sql
from rivermill.db import DATABASE_ERRORS, Connection, SharedConnection, is_about_rows, is_refusal
from rivermill.job_events import JobEvents, Written
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.rows import job_columns
from rivermill.schema import Schema

#: Statements of one batch that may fail for what they hold and are to be tried again: it may be the same for all.
_MOST_FAILURES = 100
#: Refused outcomes that are remembered.
_MOST_REFUSED = 10_000

logger = logging.getLogger("rivermill.completer")

#: Writes completions, all of one kind.
Write = Callable[[Connection, list[Any]], Awaitable[list[Written]]]


@dataclass(slots=True, eq=False)
class Batch:
    """Outcomes, with the times at which plain successes ended, monotonic seconds."""

    plain: dict[int, float] = field(default_factory=dict)
    general: list[Completion] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.plain) + len(self.general)

    def add(self, other: Batch) -> None:
        """Take what is in another one, after what is here."""
        self.plain |= other.plain
        self.general += other.general

    def take(self, most: int) -> Batch:
        """Take out up to so many of each sort, those that have been here longest."""
        if len(self.plain) <= most:
            taken, self.plain = self.plain, {}
        else:
            plain = iter(self.plain.items())
            taken, self.plain = dict(islice(plain, most)), dict(plain)
        general, self.general = self.general[:most], self.general[most:]
        return Batch(taken, general)

    def clear(self) -> None:
        """Hold nothing any more."""
        self.plain.clear()
        self.general.clear()

    def job_ids(self) -> list[int]:
        """The jobs."""
        return [*self.plain, *(completion.job_id for completion in self.general)]


@dataclass(frozen=True, slots=True)
class _Left:
    """What the database does not have of a batch: what was not tried by itself, and what failed by itself."""

    untried: list[Any]
    failed: list[Any]


class CompletionWriter:
    """Writes batches of one client.

    Args:
        schema: where River's tables are.
        client_id: the fence.
        metrics: where batches are counted.
        events: told what was written, where anybody wants to know.

    Attributes:
        refused: jobs whose outcome the database refuses; their rows stay ``running``.
    """

    def __init__(self, schema: Schema, client_id: str, metrics: Metrics, events: JobEvents) -> None:
        self._client_id = client_id
        self._metrics = metrics
        self._events = events
        self._plain_sql = plain_sql(schema)
        self._general_sql = general_sql(schema)
        self._prepared: dict[tuple[SharedConnection, str], Connection] = {}
        self.refused: deque[int] = deque(maxlen=_MOST_REFUSED)

    async def write(self, shared: SharedConnection, batch: Batch, late: Batch) -> int:
        """Write a batch; what the database does not have is left in it, or added to ``late`` if it failed by itself.

        Returns:
            How many outcomes need not be tried again.
        """
        started, size, failed = time.monotonic(), len(batch), 0
        if ended := batch.plain:
            left = await self._write_apart(shared, "plain", partial(self._write_plain, ended), list(ended))
            batch.plain = {job_id: ended[job_id] for job_id in left.untried}
            late.plain |= {job_id: ended[job_id] for job_id in left.failed}
            failed += len(left.failed)
        if batch.general:
            left = await self._write_apart(shared, "general", self._write_general, batch.general)
            batch.general = left.untried
            late.general += left.failed
            failed += len(left.failed)
        if written := size - len(batch) - failed:
            self._metrics.completion_batch.observe(written)
            self._metrics.completion_seconds.observe(time.monotonic() - started)
        return written

    async def _write_apart(self, shared: SharedConnection, kind: str, write: Write, batch: list[Any]) -> _Left:
        """Write a batch, in halves where something in it fails."""
        key, parts, failed, failures = (shared, kind), [batch], list[Any](), 0
        reason: BaseException | None = None
        while parts:
            part = parts.pop()
            try:
                # A turn each: behind a pooler a turn is a transaction, and what is in one is written at its end.
                async with shared.acquire() as connection:
                    if self._prepared.get(key) is not connection:
                        # Nothing at first: it says how long ago jobs ended, and preparing it takes milliseconds.
                        await write(connection, [])
                        self._prepared[key] = connection
                    written = await write(connection, part)
                self._events.emit(written)
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
        left = _Left([*chain.from_iterable(reversed(parts))], failed)
        if count := len(left.untried) + len(failed):
            logger.warning("completions wait for the database", extra={"jobs": count, "error": str(reason)})
        return left

    def _give_up(self, refused: Completion | int, error: BaseException) -> None:
        # Nothing more can be done here: the row stays running and the rescuer finds it.
        job_id = refused.job_id if isinstance(refused, Completion) else refused
        logger.error("the database refuses this completion", exc_info=error, extra={"job_id": job_id})
        self._metrics.completions_refused.inc()
        self.refused.append(job_id)

    async def _write_plain(self, ended: Mapping[int, float], connection: Connection, ids: list[int]) -> list[Written]:
        ids = sorted(ids)  # so that two writers never wait for each other in a circle
        now = time.monotonic()
        args = (ids, self._client_id, [now - ended[job_id] for job_id in ids])
        if self._events.wanted:
            sql = f"{self._plain_sql} RETURNING {job_columns()}"
            return await self._events.write(connection, sql, args, dict.fromkeys(ids, "completed"))
        await connection.execute(self._plain_sql, *args)
        return []

    async def _write_general(self, connection: Connection, batch: list[Completion]) -> list[Written]:
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
        if self._events.wanted:
            sql = f"{self._general_sql} RETURNING {job_columns('job')}"
            return await self._events.write(connection, sql, args, {c.job_id: c.outcome for c in batch})
        await connection.execute(self._general_sql, *args)
        return []
