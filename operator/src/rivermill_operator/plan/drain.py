"""Which pods go, and when it is safe: cordon → drained → NotReady → cheapest → scale.

A pod is removed only when, in one and the same observation, its worker has written ``drained``, no row of ``river_job`` is
running for it and it is NotReady with the lowest deletion cost, in place for a second. The ReplicaSet then ranks it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain

from rivermill_operator.plan.plan import SetDeletionCost, SetReplicas
from rivermill_operator.plan.versions import LOWEST_COST, Member, Version

SETTLE_SECONDS = 1.0
#: A pod that could go waits so long for others that drain or are marked, so that they go in one write.
TOGETHER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, and since when what was seen at earlier times has been so (pod uid → seconds of the same clock)."""

    now: float
    costed: Mapping[str, float] = field(default_factory=dict)
    draining: Mapping[str, float] = field(default_factory=dict)
    max_drain_seconds: float | None = None

    def overdue(self, member: Member) -> bool:
        """Whether a draining pod has used up the time that the user gives to its jobs."""
        since = self.draining.get(member.pod.uid, self.now)
        return self.max_drain_seconds is not None and self.now - since >= self.max_drain_seconds


@dataclass(frozen=True, slots=True)
class Drain:
    """What to write to bring one version to its size; ``costed`` and ``draining`` are remembered, ``removed`` are pod uids."""

    cordon: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    costs: tuple[SetDeletionCost, ...] = ()
    scales: tuple[SetReplicas, ...] = ()
    costed: tuple[tuple[str, float], ...] = ()
    draining: tuple[tuple[str, float], ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence[Drain]) -> Drain:
        """What several versions need, as one."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in names})


def choose_victims(fleet: Iterable[Member], count: int) -> list[Member]:
    """The accepting pods to drain next: those that cannot work first, those that do not claim, the least busy, the youngest."""
    candidates = [m for m in fleet if not m.draining and (m.client is not None or m.hopeless)]
    candidates.sort(key=lambda m: (not m.hopeless, m.pod.ready, m.running, m.pod.age_seconds))
    return candidates[: max(0, count)]


def shrink(version: Version, keep: int, clock: Clock) -> Drain:
    """Bring one version towards ``keep`` accepting pods without touching a running job."""
    victims = choose_victims(version.members, version.accepting - keep - version.unreported)
    costs, seen = [], []
    for member in [*version.draining, *(m for m in victims if m.client is None)]:
        pod = member.pod
        if not (member.empty or clock.overdue(member)):
            continue
        if pod.deletion_cost != LOWEST_COST:
            costs.append(SetDeletionCost(pod.name, LOWEST_COST, pod.resource_version))
            continue
        seen.append((pod.uid, clock.costed.get(pod.uid, clock.now)))
    removed = [uid for uid, since in seen if clock.now - since >= SETTLE_SECONDS]
    others = costs or victims or len(removed) < len(seen) or not all(member.empty for member in version.draining)
    if others and clock.now - min((since for _, since in seen), default=clock.now) < TOGETHER_SECONDS:
        removed = []
    # Marked to go first, and called back without that mark being taken off; or back after it was given up.
    claims = [m for m in version.draining if m.client is not None and m.client.wanted_state == "accepting"]
    deployment = version.deployment
    scales: tuple[SetReplicas, ...] = ()
    if removed:
        left = max(0, deployment.replicas - len(removed))
        scales = (SetReplicas(deployment.name, left, deployment.resource_version),)
    return Drain(
        cordon=tuple(m.client.client_id for m in (*victims, *claims) if m.client),
        costs=tuple(costs),
        scales=scales,
        costed=tuple(seen),
        draining=tuple((m.pod.uid, clock.draining.get(m.pod.uid, clock.now)) for m in version.draining),
        removed=tuple(removed),
    )


def grow(version: Version, desired: int, *, warm_only: bool = False) -> Drain:
    """Bring one version up to ``desired`` accepting pods: draining ones first, for they are warm.

    Args:
        version: what to grow.
        desired: accepting pods.
        warm_only: make no new pods.
    """
    back = sorted(version.recallable, key=lambda m: (-m.running, -m.pod.age_seconds))
    back = back[: max(0, desired - version.accepting)]
    deployment = version.deployment
    replicas = desired + len(version.draining) - len(back)
    scales: tuple[SetReplicas, ...] = ()
    if replicas > deployment.replicas and not warm_only:
        scales = (SetReplicas(deployment.name, replicas, deployment.resource_version, grows=True),)
    return Drain(
        uncordon=tuple(m.client.client_id for m in back if m.client),
        costs=tuple(
            SetDeletionCost(m.pod.name, None, m.pod.resource_version) for m in back if m.pod.deletion_cost == LOWEST_COST
        ),
        scales=scales,
    )
