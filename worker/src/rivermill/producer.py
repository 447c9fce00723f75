"""Claims jobs for the free slots of this process: one claim connection, one loop, all queues.

A claim is due when a notification says so, when a slot became free after a claim that brought all it asked for, when the
queue is resumed, and at the latest after the poll interval. The first claim after a pause goes out at once, further ones no
closer together than the cooldown, unless there is more to claim and room for a batch. Slots count as free
that will be by the time the jobs are here (``lookahead``). Mirrors River's ``producer.go`` in effect.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rivermill.claiming import Claiming
from rivermill.claims import claim_sql, return_lost_sql
from rivermill.client_queues import ClientQueues
from rivermill.config import QueueConfig, Settings
from rivermill.db import DATABASE_ERRORS, STATEMENT_TIMEOUT, SharedConnection, back_off
from rivermill.executor import Executor
from rivermill.extensions import ClaimMetric, Extensions
from rivermill.limited_claim import LimitedClaim
from rivermill.lookahead import stock_for
from rivermill.metrics import Metrics
from rivermill.queue_state import QueueState
from rivermill.shares import Want, share_slots

logger = logging.getLogger("rivermill.producer")


class Producer:
    """Keeps the slots of this process filled.

    Args:
        settings: intervals, and who this is.
        queues: the queues and the slots.
        claim: the connection of its own for claims.
        executor: runs what is claimed.
        metrics: where claims are counted.
        pending_ids: jobs that have ended here and are still to be written.
        kinds: the kinds with a worker, for ``fetch_only_known_kinds``.
        extensions: the client's, of which some are told of each claim.
        claimed: called with the rows of each claim before their jobs begin.
    """

    def __init__(
        self,
        settings: Settings,
        queues: ClientQueues,
        claim: SharedConnection,
        executor: Executor,
        metrics: Metrics,
        pending_ids: Callable[[], Iterable[int]],
        kinds: Sequence[str],
        extensions: Extensions,
        claimed: Callable[[Sequence[Any]], None],
    ) -> None:
        self._extensions = extensions
        self._claimed = claimed
        self._pending_ids = pending_ids
        self._settings = settings
        self._claim = claim
        self._executor = executor
        self._metrics = metrics
        self._sql = claim_sql(settings.schema, known_kinds=settings.fetch_only_known_kinds)
        self._sql_args = [settings.client_id, *([list(kinds)] if settings.fetch_only_known_kinds else [])]
        self._work = queues
        self._queues = {name: self._new_state(config) for name, config in queues.configs.items()}
        self._credit: Mapping[str, float] = {}
        self._wake = asyncio.Event()
        self._cordoned = False
        self._claiming = Claiming()
        known = kinds if settings.fetch_only_known_kinds else None
        self._limited_claim = LimitedClaim(settings.schema, settings.client_id, known)
        self._return_lost_sql = return_lost_sql(settings.schema)
        self._return_lost_at: list[float] = []
        self.failures = 0

    def set_paused(self, queue: str, *, paused: bool) -> list[str]:
        """Stop or resume claims of a queue; ``*`` is every queue. Returns those for which that is a change."""
        changed = [name for name, state in self._queues.items() if queue in ("*", name) and state.paused is not paused]
        for name in changed:
            self._queues[name].paused = paused
            self._queues[name].wanted = True
            logger.info("queue %s", "paused" if paused else "resumed", extra={"queue": name})
        self._wake.set()
        return changed

    def after_claim(self, call: Callable[[], None]) -> None:
        """Call once no claim is in flight that may bring jobs of a queue that was paused meanwhile."""
        self._claiming.call_after(call)

    def set_limited(self, queue: str, *, limited: bool) -> None:
        """Claim a queue's jobs within the limits of its row, or without any."""
        state = self._queues.get(queue)
        if state is not None and (state.limited is not limited or state.closed):
            if state.limited is not limited:
                logger.info("queue is %s", "limited" if limited else "not limited any more", extra={"queue": queue})
            # Where it was closed its limits may be others now.
            state.limited, state.closed, state.wanted = limited, False, True
            self._wake.set()

    def room_made(self, *, backlog: int) -> list[str]:
        """Outcomes were written: the limited queues in which jobs may run now that could not before.

        Args:
            backlog: outcomes still to be written.
        """
        queues = []
        for name, state in self._queues.items():
            counted = state.limited and state.ends_make_room
            ended = self._executor.ended_in(name) if counted else state.ended_seen
            if counted and (state.unwritten or ended != state.ended_seen):
                state.ended_seen, state.unwritten, state.wanted = ended, backlog > 0, True
                queues.append(name)
        if queues:
            self._wake.set()
        return queues

    def _new_state(self, config: QueueConfig, *, paused: bool = False) -> QueueState:
        cooldown = config.fetch_cooldown or self._settings.fetch_cooldown
        interval = config.poll_interval or self._settings.poll_interval
        return QueueState(config, cooldown.total_seconds(), interval.total_seconds(), paused=paused)

    def add_queue(self, name: str, config: QueueConfig, *, paused: bool) -> None:
        """Claim from one queue more."""
        self._queues[name] = self._new_state(config, paused=paused)
        self._wake.set()

    async def leave(self, name: str) -> None:
        """Claim from a queue no more; returns once no claim is in flight."""
        self._queues[name].leaving = True
        async with self._claiming:
            pass

    def remove_queue(self, name: str) -> None:
        """Forget a queue that was left."""
        del self._queues[name]
        self._wake.set()

    def fetch_soon(self, queue: str | None = None) -> None:
        """Claim from a queue, or from all, as soon as the cooldown allows."""
        for name, state in self._queues.items():
            if queue is None or queue == name:
                state.wanted = True
        self._wake.set()

    def slot_freed(self) -> None:
        """So many jobs have ended that it is worth looking again: see ``Executor.wake_at``."""
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
                await asyncio.sleep(back_off(self.failures))
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
        loop = asyncio.get_running_loop()
        while (delay := self._delay()) is None or delay > 0:
            self._wake.clear()
            timer = None if delay is None else loop.call_later(delay, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _delay(self) -> float | None:
        """Seconds until a claim is due; None while only a wake-up can make one due."""
        free = self._free()
        self._executor.wake_at = -1 if self._cordoned else self._worth_waking_for(free)
        if self._cordoned or free <= 0:
            return None
        due = min((s.due_at(self._room(n, free)) for n, s in self._queues.items()), default=float("inf"))
        return None if due == float("inf") else due - time.monotonic()

    def _worth_waking_for(self, free: int) -> int:
        """How few jobs must be held before one that ends is a reason to look again.

        Until then either nothing more is there to claim, or the timer of the cooldown runs.
        """
        held, threshold = self._executor.held, -1
        for name, state in self._queues.items():
            room = self._room(name, free)
            if state.hungry:
                threshold = max(threshold, held - max(1, state.stock.batch - room))
            elif room <= 0:
                threshold = max(threshold, held - 1 + room)
        return threshold

    def _free(self) -> int:
        ahead = sum(state.stock.ahead for state in self._queues.values() if not (state.paused or state.leaving))
        return self._work.total_slots + ahead - self._executor.held

    def _room(self, queue: str, free: int) -> int:
        """Jobs to claim of a queue now: no more than are free for all, nor than its own share of slots leaves."""
        state = self._queues[queue]
        return min(free, state.config.max_workers + state.stock.ahead - self._executor.held_in(queue))

    async def _claim_due(self) -> None:
        if self._cordoned:
            return
        now, free = time.monotonic(), self._free()
        due = {n: state for n, state in self._queues.items() if state.due_at(self._room(n, free)) <= now}
        for name, state in due.items():
            state.flow.count(now, self._executor.ended_in(name))
            state.stock = stock_for(state.flow, min(state.config.max_workers, self._work.total_slots))
            if state.limited:  # what waits here would keep others from running
                state.stock = replace(state.stock, ahead=0)
        free = self._free()
        wants = {name: Want(self._room(name, free), state.config.priority) for name, state in due.items()}
        grants, self._credit = share_slots(free, wants, self._credit)
        for name, state in due.items():
            state.hungry = name not in grants
        for name, count in grants.items():
            if not self._cordoned:
                await self._claim_queue(name, count)

    async def _claim_queue(self, name: str, count: int) -> None:
        state = self._queues[name]
        started = time.monotonic()
        state.wanted = False
        state.claimed_at = started
        interval = state.interval
        state.poll_at = started + interval + random.uniform(0, max(0.1 * interval, 0.01))
        self._executor.expect()
        try:
            async with self._claim.acquire() as connection:
                if state.limited:
                    claims = await self._limited_claim.fetch(connection, name, count)
                    records = claims.records
                    state.keep_to(claims, time.monotonic())
                else:
                    records = await connection.fetch(self._sql, name, count, *self._sql_args)
            seconds = time.monotonic() - started
            metric = ClaimMetric(name, timedelta(seconds=seconds), len(records))
            if records:
                for hook in self._extensions.jobs_claimed:
                    await hook.jobs_claimed(metric)
                self._claimed(records)
                self._executor.submit(name, records)
        except DATABASE_ERRORS as error:
            state.wanted = True
            self._failed("claim failed", error)
            return
        finally:
            self._executor.expected()
        self.failures = 0
        state.flow.claimed(seconds)
        state.hungry = len(records) >= count
        state.wanted = state.wanted or state.hungry
        self._metrics.claim_seconds.observe(seconds)
        if records:
            self._metrics.claim_size.observe(len(records))
        if self._extensions.metric_emit:
            self._emit(metric)

    def _emit(self, metric: ClaimMetric) -> None:
        for hook in self._extensions.metric_emit:
            try:
                hook.metric_emit(metric)
            except Exception:
                logger.exception("a metric_emit hook failed", extra={"queue": metric.queue})
