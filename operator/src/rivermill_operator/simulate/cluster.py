"""Pods, ReplicaSets and how Kubernetes chooses and ends pods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from rivermill_operator.model.observed import Verdict
from rivermill_operator.simulate.workload import NEVER, PodStart

#: Between the end of a worker's last job after SIGTERM and its pod being gone.
EXIT_SECONDS = 1.0
#: The readiness probe's period: how late Kubernetes sees that a worker has drained, or accepts again.
PROBE_SECONDS = 1.0


class Pod:
    """One worker pod and what runs in it."""

    __slots__ = ("cordoned", "cost", "created", "credit", "ended", "failed", "free", "number", "place", "ready", "ready_since",
                 "room", "running", "starts_in", "terminating", "tie", "version")  # fmt: skip

    def __init__(self, number: int, version: str, created: float, starts_in: float, tie: float) -> None:
        self.number = number
        self.version = version
        self.created = created
        self.starts_in = starts_in
        self.tie = tie
        self.ready_since = NEVER
        self.ready = False
        self.cordoned = False
        self.terminating = False
        self.cost = 0
        #: job → when it started.
        self.running: dict[int, float] = {}
        #: Attempts that ended in it, and those that failed.
        self.ended = 0
        self.failed = 0
        self.free = 0
        self.room: list[int] = []
        self.credit: list[int] = []
        #: Index in the list of pods with free slots; -1 when it is not there.
        self.place = -1

    @property
    def accepting(self) -> bool:
        """Whether its worker claims jobs."""
        return self.ready_since != NEVER and not self.cordoned and not self.terminating


@dataclass(slots=True)
class ReplicaSet:
    """One version's wanted replicas."""

    version: str
    created: float
    replicas: int = 0
    applied_hash: str | None = None
    verdict: Verdict = Verdict.PENDING


class World(Protocol):
    """What pods need of the simulation they live in."""

    now: float

    def call_in(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Call later."""

    def random(self) -> float:
        """From 0 to 1."""

    def draw_start(self, start: PodStart, starting: int) -> float:
        """Seconds until a new pod is Ready."""

    def open_pod(self, pod: Pod) -> None:
        """Its worker claims from now on."""

    def close_pod(self, pod: Pod) -> None:
        """Its worker claims no more."""

    def interrupt(self, pod: Pod) -> None:
        """Its running jobs are lost and wait again."""

    def pods_changed(self) -> None:
        """What a watch on pods would see."""


class Cluster:
    """All pods of one fleet.

    Args:
        world: the simulation.
        start: how pods start.
        grace_seconds: from SIGTERM to SIGKILL.
    """

    def __init__(self, world: World, start: PodStart, grace_seconds: float) -> None:
        self._world = world
        self._start = start
        self._grace = grace_seconds
        self.pods: dict[int, Pod] = {}
        self.sets: dict[str, ReplicaSet] = {}
        #: When a scaler wrote replicas, and how many the fleet was to have then.
        self.writes: list[tuple[float, int]] = []
        self.pod_seconds = 0.0
        self.peak = 0
        self.first_ready = NEVER
        self._last = 0.0
        self._created = 0

    def live(self, version: str | None = None) -> list[Pod]:
        """Pods that are not being deleted, of one version or of all."""
        return [p for p in self.pods.values() if not p.terminating and (version is None or p.version == version)]

    @property
    def replicas(self) -> int:
        """Wanted, over all versions."""
        return sum(group.replicas for group in self.sets.values())

    def account(self) -> None:
        """Add up pod-seconds until now."""
        now = self._world.now
        self.pod_seconds += len(self.pods) * (now - self._last)
        self._last = now
        self.peak = max(self.peak, len(self.pods))

    def add_set(self, version: str) -> ReplicaSet:
        """A version without pods, or the one that is there."""
        return self.sets.setdefault(version, ReplicaSet(version, self._world.now))

    def set_replicas(self, version: str, replicas: int) -> None:
        """Make or delete pods until the set has ``replicas``."""
        group = self.sets[version]
        group.replicas = replicas
        live = self.live(version)
        if replicas > len(live):
            self._create(version, replicas - len(live))
        elif replicas < len(live):
            for pod in rank_victims(live, self._world.now)[: len(live) - replicas]:
                self._terminate(pod)
        self._world.pods_changed()

    def write_replicas(self, version: str, replicas: int) -> None:
        """A scaler's write of ``/scale``."""
        more = replicas - self.sets[version].replicas
        if more:
            self.writes.append((self._world.now, self.replicas + more))
            self.set_replicas(version, replicas)

    def _create(self, version: str, count: int) -> None:
        self.account()
        now = self._world.now
        starting = count + sum(1 for p in self.pods.values() if p.ready_since == NEVER and not p.terminating)
        for _ in range(count):
            seconds = self._world.draw_start(self._start, starting)
            pod = Pod(self._created, version, now, seconds, self._world.random())
            self._created += 1
            self.pods[pod.number] = pod
            if seconds != NEVER:
                self._world.call_in(seconds, self._started, pod)
        self.account()

    def _started(self, pod: Pod) -> None:
        if pod.terminating:
            return
        pod.ready_since = self._world.now
        pod.ready = True
        self.first_ready = min(self.first_ready, self._world.now)
        self._world.open_pod(pod)
        self._world.pods_changed()

    # --- scale-in by the operator's protocol ---

    def cordon(self, pod: Pod) -> None:
        """Tell a worker to claim no more; once its last job has ended it is drained, and soon not Ready."""
        if not pod.cordoned:
            pod.cordoned = True
            self._world.close_pod(pod)
            if not pod.running:
                self.drained(pod)

    def uncordon(self, pod: Pod) -> None:
        """Tell it to claim again."""
        if pod.cordoned and not pod.terminating:
            pod.cordoned = False
            self._world.call_in(PROBE_SECONDS, self._probe, pod)
            self._world.open_pod(pod)

    def drained(self, pod: Pod) -> None:
        """A worker that claims no more has ended its last job."""
        if pod.terminating:
            self._world.call_in(EXIT_SECONDS, self._gone, pod)
        else:
            self._world.call_in(PROBE_SECONDS, self._probe, pod)

    def _probe(self, pod: Pod) -> None:
        ready = not (pod.cordoned and not pod.running)
        if ready and not pod.ready:
            pod.ready_since = self._world.now
        if ready != pod.ready:
            pod.ready = ready
            self._world.pods_changed()

    # --- the end of a pod ---

    def _terminate(self, pod: Pod) -> None:
        pod.terminating = True
        self._world.close_pod(pod)
        if pod.running:
            self._world.call_in(self._grace, self._kill, pod)
        else:
            self._world.call_in(EXIT_SECONDS, self._gone, pod)

    def _kill(self, pod: Pod) -> None:
        if pod.number in self.pods and pod.running:
            self._world.interrupt(pod)
            self._gone(pod)

    def _gone(self, pod: Pod) -> None:
        if pod.number in self.pods:
            self.account()
            del self.pods[pod.number]
            self._world.pods_changed()


def rank_victims(pods: Iterable[Pod], now: float) -> list[Pod]:
    """Pods in the order in which a ReplicaSet deletes them.

    Not Ready before Ready, then the lower deletion cost, then the more recently Ready on a logarithmic scale (Kubernetes'
    ``LogarithmicScaleDown``), ties by chance. Nodes are not modelled.
    """

    def rank(pod: Pod) -> tuple[bool, int, int, float]:
        since = pod.ready_since if pod.ready else pod.created
        return pod.ready, pod.cost, _magnitude(now - since), pod.tie

    return sorted(pods, key=rank)


def _magnitude(seconds: float) -> int:
    return int(math.log2(max(seconds, 1e-9) * 1e9))
