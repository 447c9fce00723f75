"""The loop of one ``JobQueue``: wait for a wake-up, observe, plan, apply, report."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rivermill_operator.control.apply import apply
from rivermill_operator.control.report import build_status, restore_manual
from rivermill_operator.control.views import deployment_view, pod_view
from rivermill_operator.control.wake import Wakes, until_tick
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import PAUSED, Observed, StoreView, Unknown
from rivermill_operator.model.parse import SpecError, parse_job_queue
from rivermill_operator.model.spec import JobQueue, Mode
from rivermill_operator.plan import Memory, Plan
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.probes import probes
from rivermill_operator.plan.replay import Inputs, save
from rivermill_operator.store.port import Store, StoreError, StoreProvider, Usage

DEBOUNCE_SECONDS = 0.05
REFRESH_SECONDS = 15.0
OBSERVE_SECONDS = 10.0
_MAX_BACKOFF = 30.0

logger = logging.getLogger("rivermill.control")


@dataclass(frozen=True, slots=True)
class Ports:
    """What every loop shares."""

    kube: Kube
    stores: StoreProvider
    wakes: Wakes
    metrics: Metrics
    writes: asyncio.Semaphore


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
        manual = restore_manual(body().get("status") or {}, time.monotonic(), datetime.now(UTC))
        self._memory = Memory(scaling=ScalingMemory(manual=manual))
        self._dsn: tuple[float, str] | None = None
        self._store: Store | None = None
        self._conflict: tuple[float, str | None] = (float("-inf"), None)
        self._unknown_since: float | None = None
        self._failures = 0
        self._reported: tuple[Any, ...] | None = None
        self._reported_at = float("-inf")
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
            self._ports.wakes.remove(self._key)
            if not self._ports.wakes.closed:
                self._ports.stores.release(self._key)

    async def _pause(self, delay: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), until_tick(time.monotonic(), max(0.01, delay)))
        except TimeoutError:
            return
        # Several changes come together; the first wake-up waits for the others for a moment.
        await asyncio.sleep(DEBOUNCE_SECONDS)

    async def _guarded_step(self) -> float | None:
        """One step; what nobody foresaw costs this JobQueue a pause, and no other anything."""
        try:
            return await self._step()
        except SpecError as error:
            logger.warning("the spec is wrong", extra={"jobqueue": self._name, "error": str(error)})
            return REFRESH_SECONDS
        except (KubeError, TimeoutError) as error:
            logger.warning("step failed", extra={"jobqueue": self._name, "error": str(error) or "timeout"})
        except Exception:
            logger.exception("step failed", extra={"jobqueue": self._name})
        self._ports.metrics.errors.labels("step").inc()
        return self._back_off()

    @property
    def _name(self) -> str:
        return "/".join(self._key)

    def _back_off(self) -> float:
        self._failures += 1
        return min(_MAX_BACKOFF, 2.0 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)

    async def _step(self) -> float | None:
        started = time.monotonic()
        job_queue = parse_job_queue(self._body())
        observed = await self._observe(job_queue)
        inputs = Inputs(observed, job_queue, self._memory)
        decided = inputs.decide()
        self._memory = decided.memory
        async with self._ports.writes:
            problems = await apply(decided, job_queue, self._ports.kube, self._store)
        if decided.done:
            await self._ports.kube.remove_finalizer(*self._key)
            return None
        await self._report(inputs, decided)
        self._count(observed, decided, started, problems)
        if problems or (isinstance(observed.store, Unknown) and observed.store != PAUSED):
            return min(decided.wake_after, self._back_off())
        self._failures = 0
        return decided.wake_after

    # --- observing ---

    async def _observe(self, job_queue: JobQueue) -> Observed:
        fleet = self._ports.kube.fleet(*self._key)
        now = datetime.now(UTC)
        pods = tuple(pod_view(obj, now) for obj in fleet.pods)
        deployments = tuple(deployment_view(obj, now) for obj in fleet.deployments)
        if job_queue.spec.mode is Mode.PAUSED and not job_queue.deleting:
            self._leave_database()
            return Observed(time.monotonic(), PAUSED, deployments, pods, utc=now)
        store: StoreView | Unknown
        try:
            async with asyncio.timeout(OBSERVE_SECONDS):
                self._store = await self._open(job_queue)
                uids = [*(pod.uid for pod in pods), *(uid for uid, _ in self._memory.lost)]
                store = await self._store.observe(probes(job_queue.spec, self._memory.scaling), uids)
            self._unknown_since = None
        except (StoreError, TimeoutError) as error:
            store = self._unknown(error)
        conflict = await self._find_conflict(job_queue, [deployment.name for deployment in deployments])
        return Observed(time.monotonic(), store, deployments, pods, conflict, now)

    def _leave_database(self) -> None:
        self._ports.stores.release(self._key)
        self._store = self._dsn = self._unknown_since = None

    def _unknown(self, error: StoreError | TimeoutError) -> Unknown:
        self._dsn = None  # the Secret may hold another URL by now
        now = time.monotonic()
        self._unknown_since = self._unknown_since or now
        known = error if isinstance(error, StoreError) else StoreError("Timeout", "The database did not answer in time.")
        self._ports.metrics.errors.labels(known.reason).inc()
        return Unknown(known.reason, known.message, now - self._unknown_since)

    async def _open(self, job_queue: JobQueue) -> Store:
        database = job_queue.spec.database
        if self._dsn is None or time.monotonic() - self._dsn[0] > REFRESH_SECONDS:
            self._dsn = (time.monotonic(), await self._read_secret(job_queue))
        queues = frozenset(queue.name for queue in job_queue.spec.queues)
        return self._ports.stores.use(self._key, self._dsn[1], Usage(job_queue.created, database.schema, queues))

    async def _read_secret(self, job_queue: JobQueue) -> str:
        database = job_queue.spec.database
        data = await self._ports.kube.secret(job_queue.namespace, database.secret_name)
        if data is None:
            raise StoreError("SecretNotFound", f"Secret {database.secret_name} is not in namespace {job_queue.namespace}.")
        if database.secret_key not in data:
            raise StoreError("SecretKeyMissing", f"Secret {database.secret_name} has no key {database.secret_key}.")
        try:
            return data[database.secret_key].decode().strip()
        except UnicodeDecodeError:
            message = f"Key {database.secret_key} of Secret {database.secret_name} is not text."
            raise StoreError("InvalidDatabaseURL", message) from None

    async def _find_conflict(self, job_queue: JobQueue, deployments: list[str]) -> str | None:
        at, conflict = self._conflict
        if time.monotonic() - at > REFRESH_SECONDS and deployments:
            conflict = await self._ports.kube.conflict(job_queue.namespace, deployments)
            self._conflict = (time.monotonic(), conflict)
        if conflict is None and self._dsn is not None:
            other = self._ports.stores.older_user(self._key, self._dsn[1])
            if other is not None:
                return f"JobQueue {'/'.join(other[0])} works queue {other[1]} of this database too: leave it to one of them."
        return conflict

    # --- reporting ---

    async def _report(self, inputs: Inputs, decided: Plan) -> None:
        job_queue, observed, now = inputs.job_queue, inputs.observed, time.monotonic()
        replicas = sum(deployment.replicas for deployment in observed.deployments)
        summary = (
            (decided.decision.desired_replicas, decided.decision.bounds, decided.decision.won),
            decided.conditions,
            job_queue.generation,
            replicas,
        )
        if summary == self._reported and now - self._reported_at < REFRESH_SECONDS:
            return
        old = self._conditions or (self._body().get("status") or {}).get("conditions") or []
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        status = build_status(job_queue, observed, decided, old, stamp)
        await self._ports.kube.write_status(*self._key, status)
        if summary != self._reported:
            logger.info("decision", extra={"jobqueue": self._name, "decision": asdict(decided.decision)})
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("inputs of the decision", extra={"jobqueue": self._name, "inputs": save(inputs)})
        self._reported, self._reported_at, self._conditions = summary, now, status["conditions"]

    def _count(self, observed: Observed, decided: Plan, started: float, problems: list[str]) -> None:
        metrics = self._ports.metrics
        metrics.decisions.labels(*self._key).inc()
        metrics.step_seconds.observe(time.monotonic() - started)
        metrics.replicas.labels(*self._key, "current").set(sum(d.replicas for d in observed.deployments))
        metrics.replicas.labels(*self._key, "desired").set(decided.decision.desired_replicas or 0)
        if isinstance(observed.store, StoreView):
            metrics.xmin_age.labels(*self._key).set(observed.store.server.xmin_age)
            for queue in observed.store.queues:
                metrics.waiting.labels(*self._key, queue.name).set(queue.waiting)
                metrics.running.labels(*self._key, queue.name).set(queue.running)
                metrics.oldest.labels(*self._key, queue.name).set(queue.oldest_seconds or 0)
        for problem in problems:
            metrics.errors.labels("write").inc()
            logger.warning("write failed", extra={"jobqueue": self._name, "error": problem})
