"""Claims jobs for the free slots of this process: one claim connection, one loop, all queues.

A claim is due when a notification says so, when a slot became free after a claim that brought all it asked for, when the
queue is resumed, and at the latest after the poll interval. The first claim after a pause goes out at once, further ones no
closer together than the cooldown. Mirrors River's ``producer.go`` in effect.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rivermill.config import QueueConfig, Settings
from rivermill.db import DATABASE_ERRORS, STATEMENT_TIMEOUT, SharedConnection
from rivermill.executor import Executor
from rivermill.metrics import Metrics
from rivermill.schema import Schema
from rivermill.shares import Want, share_slots

_MAX_ATTEMPTED_BY = 100
_MAX_BACKOFF = 10.0

logger = logging.getLogger("rivermill.producer")


def claim_sql(schema: Schema) -> str:
    """Claim up to ``$2`` due jobs of queue ``$1`` for client ``$3``.

    ``id = ANY(ARRAY(…))`` always walks the primary key; River's join of a CTE becomes a sequential scan once it is cached as
    a generic plan.
    """
    table = schema.table("river_job")
    return f"""
        UPDATE {table} SET
            state = 'running',
            attempt = attempt + 1,
            attempted_at = now(),
            attempted_by = array_append(
                CASE WHEN array_length(attempted_by, 1) >= {_MAX_ATTEMPTED_BY}
                     THEN attempted_by[array_length(attempted_by, 1) + 2 - {_MAX_ATTEMPTED_BY}:]
                     ELSE attempted_by END, $3::text)
        WHERE id = ANY(ARRAY(
            SELECT id FROM {table}
            WHERE state = 'available' AND queue = $1 AND scheduled_at <= now()
            ORDER BY priority, scheduled_at, id
            LIMIT $2 FOR UPDATE SKIP LOCKED
        ))
        RETURNING id, kind, queue, state::text AS state, args::text AS args, attempt, max_attempts, priority, created_at,
            scheduled_at, attempted_at, finalized_at, attempted_by, errors::text[] AS errors, metadata::text AS metadata,
            tags, unique_key, unique_states::int AS unique_states,
            extract(epoch FROM now() - scheduled_at)::float8 AS waited
    """


def return_lost_sql(schema: Schema) -> str:
    """Give back what client ``$1`` holds ``running`` beside the jobs ``$2`` it knows of.

    A claim whose answer was lost with its connection may have been committed all the same; nobody else would ever look at
    such rows, since their client is alive.
    """
    table = schema.table("river_job")
    return f"""
        UPDATE {table} SET state = 'available', attempt = greatest(attempt - 1, 0)
        WHERE id = ANY(ARRAY(
            SELECT id FROM {table}
            WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1 AND id <> ALL($2::bigint[])
            ORDER BY id FOR UPDATE
        ))
    """


@dataclass(slots=True)
class _QueueState:
    """What the loop knows of one queue; times are monotonic seconds."""

    config: QueueConfig
    paused: bool = False
    hungry: bool = False
    wanted: bool = True
    claimed_at: float = float("-inf")
    poll_at: float = 0.0

    def due_at(self, cooldown: float) -> float:
        """When the next claim may go out."""
        if self.paused:
            return float("inf")
        earliest = self.claimed_at + cooldown
        return earliest if self.wanted else max(earliest, self.poll_at)


class Producer:
    """Keeps the slots of this process filled.

    Args:
        settings: queues, slots and intervals.
        claim: the connection of its own for claims.
        executor: runs what is claimed.
        metrics: where claims are counted.
        pending_ids: jobs that have ended here and are still to be written.
    """

    def __init__(
        self,
        settings: Settings,
        claim: SharedConnection,
        executor: Executor,
        metrics: Metrics,
        pending_ids: Callable[[], Iterable[int]],
    ) -> None:
        self._pending_ids = pending_ids
        self._settings = settings
        self._claim = claim
        self._executor = executor
        self._metrics = metrics
        self._sql = claim_sql(settings.schema)
        self._queues = {name: _QueueState(config) for name, config in settings.queues.items()}
        self._credit: Mapping[str, int] = {}
        self._wake = asyncio.Event()
        self._cordoned = False
        self._claiming = asyncio.Lock()
        self._return_lost_sql = return_lost_sql(settings.schema)
        self._return_lost_at: list[float] = []
        self.failures = 0

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Stop or resume claims of a queue; ``*`` is every queue."""
        for name, state in self._queues.items():
            if queue in ("*", name) and state.paused is not paused:
                state.paused = paused
                state.wanted = True
                logger.info("queue %s", "paused" if paused else "resumed", extra={"queue": name})
        self._wake.set()

    def fetch_soon(self, queue: str | None = None) -> None:
        """Claim from a queue, or from all, as soon as the cooldown allows."""
        for name, state in self._queues.items():
            if queue is None or queue == name:
                state.wanted = True
        self._wake.set()

    def slot_freed(self, queue: str) -> None:
        """Claim again if there was more than the slots could take."""
        state = self._queues.get(queue)
        shared = len(self._queues) > 1 and any(other.hungry for other in self._queues.values())
        if (state is not None and state.hungry) or shared:
            for other in self._queues.values():
                other.wanted = other.wanted or other.hungry
            self._wake.set()

    async def cordon(self) -> None:
        """Stop claiming; returns once no claim is in flight, so that nothing new can appear."""
        self._cordoned = True
        self._wake.set()
        async with self._claiming:
            pass

    def uncordon(self) -> None:
        """Claim again, at once."""
        self._cordoned = False
        self.fetch_soon()

    async def run(self) -> None:
        """Claim until cancelled. A lost connection is made anew, for ever, with back-off."""
        while True:
            if self.failures:
                delay = min(_MAX_BACKOFF, 0.1 * 2 ** min(self.failures, 10))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                self.fetch_soon()
            await self._wait_until_due()
            async with self._claiming:
                await self._return_lost()
                await self._claim_due()

    async def _return_lost(self) -> None:
        now = time.monotonic()
        if not self._return_lost_at or self._return_lost_at[0] > now:
            return
        try:
            async with self._claim.acquire() as connection:
                known = [*self._executor.job_ids(), *self._pending_ids()]
                status = await connection.execute(self._return_lost_sql, self._settings.client_id, known)
        except DATABASE_ERRORS as error:
            self._failed("returning lost claims failed", error)
            return
        self._return_lost_at = [at for at in self._return_lost_at if at > now]
        count = int(status.rpartition(" ")[2])
        if count:
            logger.warning("claims whose answer was lost are given back", extra={"jobs": count})

    def _failed(self, message: str, error: Exception) -> None:
        self.failures += 1
        now = time.monotonic()
        # Again later: the server may still be at the statement when the connection is lost, for as long as its timeout.
        self._return_lost_at = [now, now + STATEMENT_TIMEOUT.total_seconds() + 5]
        logger.warning(message, extra={"error": str(error), "failures": self.failures})

    async def _wait_until_due(self) -> None:
        while True:
            self._wake.clear()
            delay = self._delay()
            if delay is not None and delay <= 0:
                return
            try:
                await asyncio.wait_for(self._wake.wait(), delay)
            except TimeoutError:
                return

    def _delay(self) -> float | None:
        """Seconds until a claim is due; None while only a wake-up can make one due."""
        if self._cordoned or self._free() <= 0:
            return None
        cooldown = self._settings.fetch_cooldown.total_seconds()
        with_room = [s.due_at(cooldown) for name, s in self._queues.items() if self._room(name) > 0]
        due = min(with_room, default=float("inf"))
        return None if due == float("inf") else due - time.monotonic()

    def _free(self) -> int:
        return self._settings.total_slots - self._executor.busy

    def _room(self, queue: str) -> int:
        return self._queues[queue].config.max_workers - self._executor.busy_in(queue)

    async def _claim_due(self) -> None:
        if self._cordoned:
            return
        now = time.monotonic()
        cooldown = self._settings.fetch_cooldown.total_seconds()
        due = {name: state for name, state in self._queues.items() if state.due_at(cooldown) <= now}
        wants = {name: Want(self._room(name), state.config.priority) for name, state in due.items()}
        grants, self._credit = share_slots(self._free(), wants, self._credit)
        for name, state in due.items():
            state.hungry = wants[name].room <= 0 or name not in grants
        for name, count in grants.items():
            if not self._cordoned:
                await self._claim_queue(name, count)

    async def _claim_queue(self, name: str, count: int) -> None:
        state = self._queues[name]
        started = time.monotonic()
        state.wanted = False
        state.claimed_at = started
        interval = self._settings.poll_interval.total_seconds()
        state.poll_at = started + interval + random.uniform(0, max(0.1 * interval, 0.01))
        try:
            async with self._claim.acquire() as connection:
                records = await connection.fetch(self._sql, name, count, self._settings.client_id)
        except DATABASE_ERRORS as error:
            self.failures += 1
            state.wanted = True
            logger.warning("claim failed", extra={"queue": name, "error": str(error), "failures": self.failures})
            return
        self.failures = 0
        state.hungry = len(records) >= count
        state.wanted = state.wanted or state.hungry
        self._metrics.claim_seconds.observe(time.monotonic() - started)
        if records:
            self._metrics.claim_size.observe(len(records))
            wait = self._metrics.wait_seconds.labels(name)
            for record in records:
                wait.observe(max(0.0, record["waited"]))
                self._executor.submit(record)
