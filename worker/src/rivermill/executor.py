"""The claimed jobs of this process: which run in its slots, which wait for one, and how they are made to end early.

An attempt that shall end early (cancelled, timed out, client stops) is told at once: an async worker by ``CancelledError``,
one in a thread by ``Job.cancelled``, a process is killed. One that has not ended ``stuck_threshold`` later is stuck: it is
reported, and if it was cancelled from outside its row is finished over its head. Mirrors what River's ``producer.go`` and
``job_executor.go`` do with running jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from rivermill.attempt import Attempts
from rivermill.claimed import Claimed, Policy
from rivermill.client_queues import ClientQueues
from rivermill.completer import Completer
from rivermill.handlers import StuckJob, ask_stuck_handler
from rivermill.job import JobState
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.places import Places
from rivermill.runners import Runners
from rivermill.slots import Slots
from rivermill.worker import ExecutorKind, Workers

#: A job that was claimed ahead is given back when no slot became free for it within this many seconds.
AHEAD_SECONDS = 0.1
#: Time that cancelled attempts have to end when the client closes.
_CLOSE_SECONDS = 1.0

logger = logging.getLogger("rivermill.executor")


class Executor:
    """Runs jobs and hands their outcomes to the completer.

    Args:
        workers: the kinds that can be executed.
        completer: takes the outcomes.
        metrics: where attempts are counted.
        policy: how attempts are executed and judged.
        queues: the queues and the slots.
        on_free: called when so many jobs have ended that no more than ``wake_at`` are held, and when none is left at
            all or of a queue that somebody is to ``leave``.

    Attributes:
        wake_at: see ``on_free``.

    Raises:
        ConfigError: a worker is meant for a process and cannot be pickled.
    """

    def __init__(
        self,
        workers: Workers,
        completer: Completer,
        metrics: Metrics,
        policy: Policy,
        *,
        queues: ClientQueues,
        on_free: Callable[[], None],
    ) -> None:
        self._completer = completer
        self._metrics = metrics
        self._policy = policy
        self._on_free = on_free
        self.wake_at = -1
        self._places = Places(workers)
        self._claimed: dict[int, Claimed] = {}
        self._attempts = Attempts(
            workers,
            self._places,
            completer,
            metrics,
            policy,
            interrupt=self._interrupt,
            on_end=self._end,
            unfinished=self._claimed.values,
        )
        self._runners: Runners[Claimed] = Runners(self._attempts.execute)
        self._abandoned: set[Claimed] = set()
        self._queues = queues
        self._slots: Slots[Claimed] = Slots(queues.total_slots, {n: c.max_workers for n, c in queues.configs.items()})
        self._waits = {name: metrics.wait_seconds.labels(name) for name in queues}
        self._early_cancels: set[int] | None = None
        self._stuck_now = 0
        self._give_back_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def busy(self) -> int:
        """Jobs that hold a slot."""
        return self._slots.running

    @property
    def held(self) -> int:
        """Jobs that hold a slot and those that wait for one."""
        return self._slots.running + self._slots.waiting

    @property
    def unfinished(self) -> int:
        """Jobs whose outcome is open; a stuck one may have lost its slot, and a cancelled one keep it without being here."""
        return len(self._claimed)

    def held_in(self, queue: str) -> int:
        """Jobs of one queue that hold a slot or wait for one."""
        return self._slots.queues[queue].held

    def ended_in(self, queue: str) -> int:
        """Jobs of one queue that have given up a slot so far."""
        return self._slots.queues[queue].ended

    def add_queue(self, name: str, max_workers: int) -> None:
        """Take jobs of one queue more."""
        self._slots.add_queue(name, max_workers, self._queues.total_slots)
        self._waits[name] = self._metrics.wait_seconds.labels(name)

    def leave(self, name: str) -> None:
        """Tell by ``on_free`` when none of a queue's jobs is left."""
        self._slots.queues[name].leaving = True

    def remove_queue(self, name: str) -> None:
        """Take no more jobs of a queue, none of which is held."""
        self._slots.remove_queue(name, self._queues.total_slots)

    def job_ids(self) -> list[int]:
        """The jobs whose outcome is open."""
        return list(self._claimed)

    def is_job(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether a task, in which an attempt has begun, is executing it now."""
        return any(claimed.task is task for claimed in self._claimed.values() if claimed.task is not None)

    def working(self) -> list[tuple[int, str]]:
        """Id and kind of the jobs whose own tasks the loop is in; may be called in another thread."""
        entered = [claimed for claimed in list(self._claimed.values()) if claimed.task is not None and not claimed.done]
        return [(one.id, one.kind) for one in entered if one.task and getattr(one.task.get_coro(), "cr_running", False)]

    async def idle(self) -> None:
        """Wait until no job's outcome is open."""
        await self._idle.wait()

    def expect(self) -> None:
        """A claim is on its way: until ``expected``, remember cancellations of jobs that are not here yet."""
        self._early_cancels = set()

    def expected(self) -> None:
        """The claim's jobs have been submitted, or there were none."""
        self._early_cancels = None

    def submit(self, queue: str, records: Sequence[Any]) -> None:
        """Start executing a claim's rows; those beyond the free slots wait, and are given back if that takes too long."""
        now, claimed_at = time.monotonic(), records[0]["attempted_at"]
        slots, waited, kinds = self._slots.queues[queue], self._waits[queue], self._attempts.kinds(queue)
        if len(records) > slots.max_workers - slots.running:
            # The order of a claim's rows is not that of its selection.
            records = sorted(records, key=itemgetter("priority", "scheduled_at", "id"))
        submitted = []
        for record in records:
            job_id, name = record["id"], record["kind"]
            kind = kinds.get(name) or self._attempts.new_kind(queue, name)
            claimed = Claimed(job_id, record, kind, slots, now)
            if self._claimed.setdefault(job_id, claimed) is not claimed:
                self._supersede(claimed)
            submitted.append(claimed)
        waited.observe_all([claimed_at - record["scheduled_at"] for record in records])
        admitted = self._slots.admit(slots, submitted)
        for claimed in admitted:
            claimed.holds_slot = True
        self._runners.start(admitted)
        for job_id in self._early_cancels or ():
            self.cancel(job_id)
        self._idle.clear()
        self._watch_waiting()

    def _supersede(self, claimed: Claimed) -> None:
        """A job that others rescued while it ran here is claimed here once more: its earlier attempt counts for nothing."""
        earlier, self._claimed[claimed.id] = self._claimed[claimed.id], claimed
        self._attempts.disown(earlier)
        if not earlier.holds_slot and not earlier.entered:
            self._slots.withdraw(earlier.slots, earlier)
        elif earlier.watch is not None:
            self._abandoned.add(earlier)

    # --- ending attempts early ---

    def cancel(self, job_id: int) -> None:
        """Cancel a job on behalf of someone outside, if it is here or being claimed."""
        if (claimed := self._claimed.get(job_id)) is not None:
            self._cancel(claimed)
        elif self._early_cancels is not None:
            self._early_cancels.add(job_id)

    def attempts(self) -> dict[int, Claimed]:
        """The attempts whose outcome is open, by job."""
        return dict(self._claimed)

    def cancel_attempt(self, claimed: Claimed) -> None:
        """Cancel this attempt on behalf of someone outside, and no later one at the same job."""
        if self._claimed.get(claimed.id) is claimed:
            self._cancel(claimed)

    def _cancel(self, claimed: Claimed) -> None:
        if claimed.done or claimed.cancel_requested:
            return
        logger.info("job %(job_id)s of kind %(kind)s is cancelled from outside", claimed.names, extra=claimed.names)
        claimed.cancel_requested = claimed.touched = True
        if not claimed.holds_slot and not claimed.entered:
            # It ends as a cancelled job at its first step.
            claimed.seized = claimed.touched = True
            self._slots.seize(claimed.slots, claimed)
            claimed.holds_slot = True
            self._runners.start([claimed])
        else:
            self._interrupt(claimed)

    def soft_stop(self) -> None:
        """Ask every job back: its row becomes ``available`` and the attempt does not count."""
        for claimed in self._slots.all_waiting():
            self._give_back(claimed)
        for claimed in list(self._claimed.values()):
            if not claimed.done:
                claimed.stopping = claimed.touched = True
                self._interrupt(claimed)

    def _interrupt(self, claimed: Claimed) -> None:
        if not claimed.entered or claimed.task is None:
            return  # it finds out when it begins
        if claimed.watch is None:
            delay = self._policy.stuck_threshold.total_seconds()
            claimed.watch = asyncio.get_running_loop().call_later(delay, self._stuck, claimed)
        if claimed.place is ExecutorKind.PROCESS:
            self._places.kill(claimed)
        elif claimed.place is not ExecutorKind.THREAD:
            claimed.task.cancel()

    # --- attempts that do not end ---

    def _stuck(self, claimed: Claimed) -> None:
        claimed.watch = None
        if claimed.done:
            return
        if not claimed.stuck:
            claimed.stuck = True
            self._count_stuck(1)
            text = "job %(job_id)s of kind %(kind)s is stuck: it goes on although it was told to end"
            logger.error(text, claimed.names, extra=claimed.names)
            stuck = StuckJob(claimed.id, claimed.kind, claimed.kind_info.queue, self._stuck_now)
            if ask_stuck_handler(self._policy.stuck_handler, stuck):
                self._free_slot(claimed)
        if claimed.cancel_requested and not claimed.abandoned:
            self._attempts.give_up(claimed)
            claimed.abandoned = True
            self._abandoned.add(claimed)
            self._forget(claimed)
        self._interrupt(claimed)
        self._on_free()

    def _count_stuck(self, change: int) -> None:
        self._stuck_now += change
        self._metrics.stuck.set(self._stuck_now)

    async def close(self) -> list[int]:
        """Release threads and processes.

        Returns:
            The jobs that ignore their interruption. Their rows stay ``running``: nobody can know yet that it is safe to run
            them elsewhere.
        """
        self._attempts.close()
        if self._give_back_timer is not None:
            self._give_back_timer.cancel()
        left = [claimed for claimed in (*self._claimed.values(), *self._abandoned) if claimed.task is not None]
        tasks = []
        for claimed in left:
            claimed.abandoned = True
            if claimed.task is not None and claimed.place is not ExecutorKind.THREAD:
                claimed.task.cancel()
                tasks.append(claimed.task)
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        await self._places.close()
        for claimed in left:
            if claimed.watch is not None:
                claimed.watch.cancel()
        return [claimed.id for claimed in left if claimed.task is not None and not claimed.done]

    # --- slots ---

    def _end(self, claimed: Claimed) -> None:
        if claimed.watch is not None or claimed.stuck:
            self._end_watch(claimed)
        self._forget(claimed)
        if claimed.holds_slot:
            self._free_slot(claimed)
        held = self._slots.running + self._slots.waiting
        if held <= self.wake_at or not self._claimed or (claimed.slots.leaving and not claimed.slots.running):
            self.wake_at = -1  # once is enough, until the producer has looked
            self._on_free()

    def _end_watch(self, claimed: Claimed) -> None:
        if claimed.watch is not None:
            claimed.watch.cancel()
        self._abandoned.discard(claimed)
        if claimed.stuck:
            self._count_stuck(-1)
            logger.info("job %(job_id)s of kind %(kind)s is stuck no longer", claimed.names, extra=claimed.names)

    def _free_slot(self, claimed: Claimed) -> None:
        claimed.holds_slot = False
        successor = self._slots.release(claimed.slots)
        if successor is not None:
            successor.holds_slot = True
            self._runners.succeed(successor)

    def _forget(self, claimed: Claimed) -> None:
        # Another attempt at the same job may have begun here, once this one's row was finished over its head.
        if self._claimed.get(claimed.id) is claimed:
            del self._claimed[claimed.id]
        if not self._claimed:
            self._idle.set()

    # --- jobs claimed ahead ---

    def _watch_waiting(self) -> None:
        if self._slots.waiting and self._give_back_timer is None:
            self._give_back_timer = asyncio.get_running_loop().call_later(AHEAD_SECONDS, self._give_back_late)

    def _give_back_late(self) -> None:
        self._give_back_timer = None
        before = time.monotonic() - AHEAD_SECONDS
        for claimed in self._slots.all_waiting():
            if claimed.at <= before:
                self._give_back(claimed)
        self._watch_waiting()

    def _give_back(self, claimed: Claimed) -> None:
        """Let somebody else run a job that no slot became free for."""
        self._slots.withdraw(claimed.slots, claimed)
        attempt, at = max(claimed.attempt - 1, 0), claimed.claimed_at
        self._completer.add(Completion(claimed.id, JobState.AVAILABLE, "returned", attempt=attempt, claimed_at=at))
        self._metrics.returned.inc()
        self._forget(claimed)
        self._on_free()
