"""Claims jobs for the free slots of this process: one claim connection, one loop, all queues.

A claim is due when a notification says so, when a slot became free after a claim that brought all it asked for, when the
queue is resumed, and at the latest after the poll interval. The first claim after a pause goes out at once, further ones no
closer together than the cooldown, unless there is more to claim and room for a batch. Slots count as free
that will be by the time the jobs are here (``lookahead``). All queues that are due are claimed from by one statement; those
with limits by a transaction each. Mirrors River's ``producer.go`` in effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rivermill.claiming import Claiming
from rivermill.client_queues import ClientQueues
from rivermill.config import QueueConfig, Settings
from rivermill.db import DATABASE_ERRORS, STATEMENT_TIMEOUT, SharedConnection, back_off
from rivermill.executor import Executor
from rivermill.extensions import ClaimMetric, Extensions, emit_metric, tell_claimed
from rivermill.fetcher import Fetcher
from rivermill.gate import Gate
from rivermill.metrics import Metrics
from rivermill.queue_state import QueueState
from rivermill.queue_states import QueueStates
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
        gate: nothing is claimed while it is closed; cordons close it.
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
        gate: Gate,
    ) -> None:
        self._extensions = extensions
        self._claimed = claimed
        self._pending_ids = pending_ids
        self._settings = settings
        self._fetcher = Fetcher(settings, claim, kinds)
        self._executor = executor
        self._metrics = metrics
        self._work = queues
        self._queues = QueueStates(executor.held_in, lambda: queues.total_slots)
        for name, config in queues.configs.items():
            self._queues.add(name, self._new_state(config))
        self._credit: Mapping[str, float] = {}
        self._wake = asyncio.Event()
        self._gate = gate
        self._claiming = Claiming()
        #: When to look for claims whose answer may have been lost, monotonic seconds.
        self.return_lost_at: list[float] = []
        self.failures = 0

    def set_paused(self, queue: str, *, paused: bool) -> list[str]:
        """Stop or resume claims of a queue; ``*`` is every queue. Returns those for which that is a change."""
        changed = self._queues.set_paused(queue, paused=paused)
        for name in changed:
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
            self._queues.set_limited(queue, limited=limited)
            self._wake.set()

    def room_made(self, *, backlog: int) -> list[str]:
        """Outcomes were written: the limited queues in which jobs may run now that could not before.

        Args:
            backlog: outcomes still to be written.
        """
        queues = []
        for name, state in self._queues.limited():
            ended = self._executor.ended_in(name) if state.ends_make_room else state.ended_seen
            if state.ends_make_room and (state.unwritten or ended != state.ended_seen):
                state.ended_seen, state.unwritten = ended, backlog > 0
                self._queues.want(name)
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
        self._queues.add(name, self._new_state(config, paused=paused))
        self._wake.set()

    async def leave(self, name: str) -> None:
        """Claim from a queue no more; returns once no claim is in flight."""
        self._queues.leave(name)
        async with self._claiming:
            pass

    def remove_queue(self, name: str) -> None:
        """Forget a queue that was left."""
        self._queues.remove(name)
        self._wake.set()

    def fetch_soon(self, queue: str | None = None) -> None:
        """Claim from a queue, or from all, as soon as the cooldown allows."""
        if queue is None:
            self._queues.want_all()
        elif not self._queues.want(queue):
            return  # notifications tell of other clients' queues, too
        self._wake.set()

    def slot_freed(self) -> None:
        """So many jobs have ended that it is worth looking again: see ``Executor.wake_at``."""
        self._wake.set()

    async def cordon(self) -> None:
        """Stop claiming; returns once no claim is in flight, so that nothing new can appear."""
        self._gate.cordoned = True
        self._wake.set()
        async with self._claiming:
            pass

    def uncordon(self) -> None:
        """Claim again, at once."""
        self._gate.cordoned = False
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
        if not self.return_lost_at or self.return_lost_at[0] > now:
            return
        try:
            count = await self._fetcher.return_lost([*self._executor.job_ids(), *self._pending_ids()])
        except DATABASE_ERRORS as error:
            self._failed("returning lost claims failed", error)
            return
        self.return_lost_at = [at for at in self.return_lost_at if at > now]
        if count:
            logger.warning("claims whose answer was lost are given back", extra={"jobs": count})
            self.fetch_soon()

    def _failed(self, message: str, error: Exception) -> None:
        self.failures += 1
        now = time.monotonic()
        # Again later: the server may still be at the statement when the connection is lost, for as long as its timeout.
        self.return_lost_at = [now, now + STATEMENT_TIMEOUT.total_seconds() + 5]
        logger.warning(message, extra={"error": str(error), "failures": self.failures})

    async def _wait_until_due(self) -> None:
        while (delay := self._delay()) is None or delay > 0:
            self._wake.clear()
            timer = None if delay is None else asyncio.get_running_loop().call_later(delay, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _delay(self) -> float | None:
        """Seconds until there is something to claim or to give back; None while only a wake-up can bring something."""
        now = time.monotonic()
        if self._gate.closed:
            delay, self._executor.wake_at = self._gate.opens_after, -1
        else:
            due_at, self._executor.wake_at = self._queues.outlook(now, self._free(), self._executor.held)
            delay = None if due_at == float("inf") else due_at - now
        delays = [delay, *(at - now for at in self.return_lost_at[:1])]
        return min((delay for delay in delays if delay is not None), default=None)

    def _free(self) -> int:
        return self._work.total_slots + self._queues.ahead - self._executor.held

    async def _claim_due(self) -> None:
        now = time.monotonic()
        due = {} if self._gate.closed else self._queues.due(now, self._free())
        if not due:
            return
        await self._leave_out_empty(due)
        for name in due:
            self._queues.restock(name, now, self._executor.ended_in(name))
        free = self._free()
        wants = {name: Want(self._queues.room(name, free), state.config.priority) for name, state in due.items()}
        grants, self._credit = share_slots(free, wants, self._credit)
        limited = {name: count for name, count in grants.items() if due[name].limited}
        granted = {name: count for name, count in grants.items() if name not in limited}
        others = []
        for name, want in wants.items():
            if name not in grants and want.room > 0 and not due[name].limited:
                others.append(name)
            elif name not in grants:
                self._queues.pass_over(name)
        await self._claim_unlimited(granted, self._by_credit(others, wants), free - sum(limited.values()))
        for name, count in limited.items():
            await self._claim_limited(name, count)

    def _by_credit(self, names: list[str], wants: Mapping[str, Want]) -> list[str]:
        return sorted(names, key=lambda name: (self._credit.get(name, 0.0), wants[name].priority), reverse=True)

    async def _leave_out_empty(self, due: dict[str, QueueState]) -> None:
        """Look which of several limited queues have jobs at all: each claim from one is a transaction of its own."""
        asked = [name for name, state in due.items() if state.limited and not (state.hungry or state.closed)]
        if len(asked) <= 1:
            return
        self._queues.begin(asked, time.monotonic())
        try:
            busy = await self._fetcher.due_queues(asked)
        except DATABASE_ERRORS as error:
            busy = set()
            for name in asked:
                self._queues.want(name)
            self._failed("looking for jobs failed", error)
        for name in asked:
            if name in busy:
                self._queues.ask_again(name)  # due until its claim goes out, should claims be held before
            else:
                del due[name]
                self._queues.settle(name, found=0, hungry=False)

    async def _claim_unlimited(self, granted: Mapping[str, int], others: Sequence[str], most: int) -> None:
        """Claim from all queues at once.

        Args:
            granted: the slots of each queue.
            others: queues without a slot, of which each gets one that is left over.
            most: the most jobs to claim.
        """
        wanted = {**granted, **dict.fromkeys(others if most > 0 else (), 1)}
        if not wanted or self._gate.closed:
            return
        started = time.monotonic()
        self._queues.begin(wanted, started)
        self._executor.expect()
        try:
            found = await self._fetcher.fetch(wanted, most, lambda name: self._queues[name].limited)
            seconds = time.monotonic() - started
            await self._take({name: found.get(name, []) for name in wanted}, seconds)
        except DATABASE_ERRORS as error:
            self._claim_failed(wanted, error)
            return
        finally:
            self._executor.expected()
        enough = sum(map(len, found.values())) >= most
        for name, count in wanted.items():
            got = len(found.get(name, ()))
            if enough and not got and name not in granted:
                self._queues.not_reached(name)
            else:
                self._queues.settle(name, found=got, hungry=got >= count)
        self._credit = {name: credit - (name not in granted and name in found) for name, credit in self._credit.items()}

    async def _claim_limited(self, name: str, count: int) -> None:
        if self._gate.closed:
            return
        started = time.monotonic()
        self._queues.begin([name], started)
        self._executor.expect()
        try:
            claims = await self._fetcher.fetch_limited(name, count)
            now = time.monotonic()
            self._queues[name].keep_to(claims, now)
            await self._take({name: claims.records}, now - started)
        except DATABASE_ERRORS as error:
            self._claim_failed([name], error)
            return
        finally:
            self._executor.expected()
        self._queues.settle(name, found=len(claims.records), hungry=len(claims.records) >= count)

    def _claim_failed(self, names: Iterable[str], error: Exception) -> None:
        for name in names:
            self._queues.want(name)
        self._failed("claim failed", error)

    async def _take(self, found: Mapping[str, list[Any]], seconds: float) -> None:
        """Begin with what a claim brought of each of its queues; it took so long."""
        self.failures = 0
        hooks, metrics = self._extensions, list[ClaimMetric]()
        if hooks.jobs_claimed or hooks.metric_emit:
            metrics = [ClaimMetric(name, timedelta(seconds=seconds), len(records)) for name, records in found.items()]
        for metric in metrics:
            if metric.count:
                await tell_claimed(hooks, metric)
        for name, records in found.items():
            self._queues[name].flow.claimed(seconds)
            if records:
                self._claimed(records)
                self._executor.submit(name, records)
        self._metrics.claim_seconds.observe(seconds)
        if jobs := sum(map(len, found.values())):
            self._metrics.claim_size.observe(jobs)
        for metric in metrics:
            emit_metric(hooks, metric)
