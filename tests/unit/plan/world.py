"""A small cluster that carries plans out: pods that start, work, drain and vanish, and ReplicaSets that take their time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rivermill_operator.model import names
from rivermill_operator.model.observed import (
    ClientView,
    DeploymentView,
    Finished,
    Observed,
    PodView,
    QueueDepth,
    StoreView,
    Unknown,
    Verdict,
)
from rivermill_operator.plan import Plan

STEP_SECONDS = 0.5
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SLOTS = 20


@dataclass
class Pod:
    """One pod and its worker; ``running`` is None before it has reported."""

    version: str
    made: float
    starts_at: float
    running: int | None = None
    state: str = "accepting"
    wanted: str = "accepting"
    ready: bool = False
    cost: int = 0
    resource_version: int = 1
    gone_at: float | None = None

    @property
    def claims(self) -> bool:
        """Whether it takes jobs, as far as it has been told."""
        return self.ready and self.wanted == "accepting" and self.gone_at is None


@dataclass
class Set:
    """A Deployment and its ReplicaSet."""

    live_since: float
    replicas: int = 0
    digest: str | None = None
    verdict: Verdict = Verdict.PENDING
    resource_version: int = 1


@dataclass
class World:
    """Steps of half a second; ``rng`` decides on all that is not the operator's."""

    rng: random.Random
    now: float = 0.0
    sets: dict[str, Set] = field(default_factory=dict)
    pods: dict[int, Pod] = field(default_factory=dict)
    made: int = 0
    waiting: int = 0
    arrived: int = 0
    ended: int = 0
    blind_since: float | None = None
    blind_until: float = 0.0
    #: Pods that were deleted with a job, by a ReplicaSet that was scaled in.
    hit: list[Pod] = field(default_factory=list)

    def step(self, jobs: int) -> None:
        """Let everything but the operator happen."""
        self.now += STEP_SECONDS
        self.arrived += jobs
        self.waiting += jobs
        for number, pod in list(self.pods.items()):
            if pod.gone_at is not None and self.now > pod.gone_at:
                self.waiting += pod.running or 0
                del self.pods[number]
            else:
                self._live(pod)
        for version, group in self.sets.items():
            if self.rng.random() < 0.7:
                self._follow(version, group)

    def _live(self, pod: Pod) -> None:
        if pod.running is None:
            if self.now < pod.starts_at:
                return
            pod.running, pod.ready = 0, True
        done = sum(self.rng.random() < 0.06 for _ in range(pod.running))
        pod.running -= done
        self.ended += done
        if pod.wanted == "cordoned":
            pod.state = "drained" if pod.state != "accepting" and not pod.running else "cordoned"
            pod.ready = False
        else:
            pod.ready, pod.state = pod.state == "accepting", "accepting"
        if pod.state == "accepting" and pod.gone_at is None:
            taken = min(self.waiting, SLOTS - pod.running)
            self.waiting -= taken
            pod.running += taken

    def _follow(self, version: str, group: Set) -> None:
        own = [pod for pod in self.pods.values() if pod.version == version and pod.gone_at is None]
        for _ in range(group.replicas - len(own)):
            self.made += 1
            # Three of a hundred wait for something that never comes.
            start = self.rng.uniform(1, 6) if self.rng.random() < 0.97 else 1e9
            self.pods[self.made] = Pod(version, self.now, self.now + start)
            group.resource_version += 1
        for victim in sorted(own, key=lambda pod: (pod.ready, pod.cost, -pod.made))[: max(0, len(own) - group.replicas)]:
            victim.gone_at = self.now + 1.0
            group.resource_version += 1
            if victim.running:
                self.hit.append(victim)

    def evict(self) -> None:
        """Somebody else deletes a pod."""
        if self.pods:
            self.rng.choice(list(self.pods.values())).gone_at = self.now + 2.0

    def blind(self, seconds: float) -> None:
        """The database is away."""
        self.blind_since, self.blind_until = self.now, self.now + seconds

    def look(self) -> Observed:
        """What the operator sees."""
        deployments = tuple(
            DeploymentView(
                f"q-{name}", name, str(one.resource_version), one.replicas, self.now - one.live_since, one.digest, one.verdict
            )
            for name, one in self.sets.items()
        )
        pods = tuple(self._view(n, pod) for n, pod in self.pods.items())
        return Observed(self.now, self._store(), deployments, pods, utc=BEGAN + timedelta(seconds=self.now))

    def _view(self, number: int, pod: Pod) -> PodView:
        started = pod.running is not None
        return PodView(
            f"p{number}", f"uid{number}", pod.version, str(pod.resource_version), self.now - pod.made, started, pod.ready,
            deleting=pod.gone_at is not None, deletion_cost=pod.cost, warm=started,
            ready_after_seconds=5.0 if started else None,
        )  # fmt: skip

    def _store(self) -> StoreView | Unknown:
        if self.now < self.blind_until and self.blind_since is not None:
            return Unknown("DatabaseUnreachable", "gone.", self.now - self.blind_since)
        running = sum(pod.running or 0 for pod in self.pods.values())
        default = QueueDepth(
            "default", waiting=self.waiting, running=running, running_seconds=5.0 * running, arrived=self.arrived,
            oldest_seconds=1.0 if self.waiting else None, finished=Finished(self.ended, 8.0 * self.ended, 128.0 * self.ended),
        )  # fmt: skip
        clients = tuple(
            ClientView(f"c{n}", f"uid{n}", pod.state, pod.wanted, SLOTS, pod.running, 1.0, {"default": pod.running}, ended=40)
            for n, pod in self.pods.items()
            if pod.running is not None
        )
        return StoreView((default, QueueDepth("high")), clients, degraded="durations" if self.rng.random() < 0.02 else None)

    def apply(self, done: Plan) -> None:
        """Carry a plan out; a write to what has changed since it was seen is refused."""
        for item in done.apply:
            meta = item.deployment["metadata"]
            group = self.sets.setdefault(meta["labels"][names.HASH_LABEL], Set(self.now))
            group.digest = meta["annotations"][names.MANIFEST_ANNOTATION]
        for mark in done.verdicts:
            if group := self._unchanged(mark.deployment, mark.resource_version):
                group.verdict = mark.verdict
        self._tell(done)
        for scale in done.scales:
            if group := self._unchanged(scale.deployment, scale.resource_version):
                group.replicas = scale.replicas
        if done.live is not None:
            group = self.sets[done.live.deployment[2:]]
            group.live_since, group.resource_version = (done.live.since - BEGAN).total_seconds(), group.resource_version + 1
        for gone in done.deletions:
            if self._unchanged(gone.name, gone.resource_version):
                del self.sets[gone.name[2:]]

    def _tell(self, done: Plan) -> None:
        for wanted, clients in (("accepting", done.uncordon), ("cordoned", done.cordon)):
            for client in clients:
                self.pods[int(client[1:])].wanted = wanted
        for cost in done.deletion_costs:
            pod = self.pods[int(cost.pod[1:])]
            if str(pod.resource_version) == cost.resource_version:
                pod.cost, pod.resource_version = cost.cost or 0, pod.resource_version + 1

    def _unchanged(self, deployment: str, resource_version: str) -> Set | None:
        group = self.sets[deployment[2:]]
        if str(group.resource_version) != resource_version:
            return None
        group.resource_version += 1
        return group

    @property
    def claiming(self) -> int:
        """Pods that take jobs, as far as they have been told."""
        return sum(pod.claims for pod in self.pods.values())
