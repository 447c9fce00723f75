"""The loop of one ``JobQueue``: wait for a wake-up, observe, plan, apply, report."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rivermill_operator.control.apply import apply
from rivermill_operator.control.observe import Observer
from rivermill_operator.control.pace import NUMBERS_SECONDS, STILL_SECONDS, Pace
from rivermill_operator.control.report import (
    Shown,
    build_status,
    news,
    restore_conditions,
    restore_conflict,
    restore_manual,
    show,
)
from rivermill_operator.control.retries import AWAY_BACKOFF, MAX_BACKOFF, Problem, Retries, back_off
from rivermill_operator.control.series import Series
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.wake import Wakes
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import Observed, Unknown
from rivermill_operator.model.parse import by_scale, read_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.times import stamp
from rivermill_operator.plan import Memory, Plan
from rivermill_operator.plan.looks import LOOK_SECONDS, until_look, until_tick
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.reasons import READY
from rivermill_operator.plan.replay import Inputs, save
from rivermill_operator.store.port import StoreProvider

#: What a status that could not be written is called.
_STATUS = "write the status"

logger = logging.getLogger("rivermill.control")


@dataclass(frozen=True, slots=True)
class Ports:
    """What every loop shares.

    Attributes:
        turns: bounds the requests to Kubernetes that are under way at once.
    """

    kube: Kube
    stores: StoreProvider
    wakes: Wakes
    metrics: Metrics
    turns: Turns


class Loop:
    """The loop of one ``JobQueue``.

    Args:
        key: namespace and name.
        body: the object as it is now.
        ports: what it works with.
    """

    def __init__(self, key: tuple[str, str], body: Callable[[], Mapping[str, Any]], ports: Ports) -> None:
        self._key = key
        self._body = body
        self._ports = ports
        self._wake = ports.wakes.add(key)
        status = body().get("status") or {}
        manual = restore_manual(status, time.monotonic(), datetime.now(UTC))
        self._memory = Memory(scaling=ScalingMemory(manual=manual), conditions=restore_conditions(status))
        self._observer = Observer(key, ports.kube, ports.stores, restore_conflict(status))
        self._series = Series(key, ports.metrics)
        self._retries = Retries()
        self._failures = 0
        #: Until then no news brings a look, for the last one ended with an error.
        self._not_before = float("-inf")
        self._doubted = False
        #: Of the spec that was last looked at.
        self._generation: int | None = None
        self._asked_at = float("-inf")
        self._read: tuple[Any, JobQueue] | None = None
        self._reported: tuple[Any, ...] | None = None
        self._logged: tuple[Any, ...] | None = None
        self._said: str | None = None
        self._shown: Shown | None = None
        self._pace = Pace()
        self._compared_at = self._written_at = float("-inf")
        self._conditions: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Run until the operator leaves, or the object is deleted and its fleet gone."""
        try:
            while not self._ports.wakes.closed:
                self._wake.clear()
                delay = await self._guarded_step()
                if delay is None:
                    return
                await self._pause(delay)
        finally:
            # What goes by the name goes with the last loop that has it.
            if self._ports.wakes.remove(self._key, self._wake):
                self._series.forget()
                if not self._ports.wakes.closed:
                    self._ports.stores.release(self._key)

    async def _pause(self, delay: float) -> None:
        now = time.monotonic()
        regular = max(now + until_tick(now, max(0.01, delay)), self._not_before)
        while await self._asked(regular):
            if self._ports.wakes.closed or time.monotonic() >= self._not_before:
                break
            self._wake.clear()
        else:
            return
        now = time.monotonic()
        wait = until_look(now, self._asked_at, self._ports.wakes.interval)
        # A regular look is never late because somebody asked for one.
        await asyncio.sleep(max(0.0, min(wait, regular - now)))
        self._asked_at = time.monotonic()

    async def _asked(self, until: float) -> bool:
        """Wait to be asked for a look; False when the time is over, or a Secret was mended that led nowhere."""
        while (left := until - time.monotonic()) > 0:
            doubted = self._observer.doubted
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if doubted is None else min(left, doubted)):
                    return await self._wake.wait()
            if doubted is not None and await self._observer.renewed(self._job_queue()):
                break
        return False

    async def _guarded_step(self) -> float | None:
        """One step; what nobody foresaw costs this JobQueue a pause, and no other anything."""
        longest = MAX_BACKOFF
        try:
            return await self._step()
        except (KubeError, TimeoutError) as error:
            longest = AWAY_BACKOFF
            self._doubted = isinstance(error, KubeError) and error.stale
            logger.warning("step failed", extra={"jobqueue": self._name, "error": str(error) or "timeout"})
        except Exception:
            logger.exception("step failed", extra={"jobqueue": self._name})
        self._ports.metrics.errors.labels("step").inc()
        delay = self._back_off(longest)
        self._not_before = time.monotonic() + delay
        return delay

    def _job_queue(self) -> JobQueue:
        """The object as it is now; what is wanted is read anew only where it may have changed."""
        body = self._body()
        meta = body["metadata"]
        # Who owns a field changes without a generation.
        version = (meta["uid"], meta.get("generation"), meta.get("deletionTimestamp"), by_scale(meta))
        if self._read is None or self._read[0] != version:
            self._read = (version, read_job_queue(body))
        return self._read[1]

    @property
    def _name(self) -> str:
        return "/".join(self._key)

    def _back_off(self, longest: float = MAX_BACKOFF) -> float:
        self._failures += 1
        return back_off(self._failures, longest)

    async def _step(self) -> float | None:
        started = time.monotonic()
        job_queue = self._job_queue()
        if (job_queue.deleting or self._doubted) and await self._ports.kube.gone(job_queue):
            # Its finalizer was taken off by hand: what has its name now is not ours to drain.
            return None
        self._doubted = False
        observed = await self._observer.observe(job_queue, self._memory)
        inputs = Inputs(observed, job_queue, self._memory)
        decided = inputs.decide()
        self._memory = decided.memory
        self._tell(inputs, decided)
        self._series.count_unread(observed, decided.conditions)
        problems = await apply(decided, job_queue, self._ports.kube, self._observer.store, self._ports.turns, self._retries)
        if decided.done and not problems:
            await self._ports.kube.remove_finalizer(job_queue)
            return None
        self._count(observed, decided, started, problems)
        refused = next((problem.text for problem in problems if problem.refused), None)
        self._observer.refused = refused
        changed, self._generation = job_queue.generation != self._generation, job_queue.generation
        if refused != observed.refused and (changed or observed.refused is None):
            # The next look tells it; a status written now would say that all is well, or what the spec before was refused for.
            return LOOK_SECONDS
        due = min(decided.wake_after, await self._report(inputs, decided), self._retries.wait())
        if isinstance(observed.store, Unknown) and not observed.store.untried:
            return min(due, self._back_off())
        self._failures = 0
        return due

    def _tell(self, inputs: Inputs, decided: Plan) -> None:
        """Log a decision that says something new, when it is taken."""
        summary = _summary(inputs, decided)
        if summary != self._logged:
            self._logged = summary
            if decided.decision.sentence != self._said:
                self._said = decided.decision.sentence
                logger.info("decision", extra={"jobqueue": self._name, "decision": asdict(decided.decision)})
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("inputs of the decision", extra={"jobqueue": self._name, "inputs": save(inputs)})

    async def _report(self, inputs: Inputs, decided: Plan) -> float:
        """Write the status where there is something to tell; returns the seconds after which what waits may be told."""
        job_queue, observed, now = inputs.job_queue, inputs.observed, time.monotonic()
        summary = _summary(inputs, decided)
        shown = show(job_queue, observed, decided, self._shown)
        known, moved = summary == self._reported, shown.moved(self._shown)
        if known:
            # One write is left for what moves next.
            regular = max(self._compared_at + NUMBERS_SECONDS - now, self._pace.wait(now, 1))
            wait = self._pace.wait(now, 0) if moved else regular
            if wait > 0:
                return wait if moved else math.inf
        body = self._body().get("status") or {}
        known_conditions = self._conditions or body.get("conditions") or []
        status = build_status(job_queue, observed, decided, known_conditions, stamp(datetime.now(UTC)))
        self._compared_at = now
        if known and not moved and now - self._written_at < STILL_SECONDS and not news(status, body):
            return math.inf
        if not await self._write(job_queue, status, body):
            return math.inf
        self._pace.spend(now)
        self._reported, self._shown, self._written_at, self._conditions = summary, shown, now, status["conditions"]
        return math.inf

    async def _write(self, job_queue: JobQueue, status: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
        """Write a status; the fleet is looked after also where that fails."""
        if self._retries.kept(_STATUS):
            return False
        problem = None
        try:
            async with self._ports.turns.report:
                await self._ports.kube.write_status(job_queue, status, old)
        except KubeError as error:
            if error.stale:
                raise
            problem = Problem(f"{_STATUS}: {error}", error.refused)
            self._warn(problem)
        self._retries.note(_STATUS, problem)
        return problem is None

    def _count(self, observed: Observed, decided: Plan, started: float, problems: Sequence[Problem]) -> None:
        metrics = self._ports.metrics
        self._series.show(observed, decided.decision)
        metrics.step_seconds.observe(time.monotonic() - started)
        for problem in problems:
            if not problem.kept:
                self._warn(problem)

    def _warn(self, problem: Problem) -> None:
        self._ports.metrics.errors.labels("write").inc()
        logger.warning("write failed", extra={"jobqueue": self._name, "error": problem.text})


def _summary(inputs: Inputs, decided: Plan) -> tuple[Any, ...]:
    """What a status is written for at once. Not all words: some of them hold a number that moves all the time.

    Nor which term asked for the most, for two of them may take turns at the same number.
    """
    decision = decided.decision
    return (
        (decision.desired_replicas, [bound.reason for bound in decision.bounds]),
        # Whether a fleet that is well has all its pods is told with their number, which has a pace of its own.
        [c.turn[:2] if (c.type, c.status) == (READY, "True") else c.turn for c in decided.conditions],
        inputs.job_queue.generation,
    )
