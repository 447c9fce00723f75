"""Which pods go, and when it is safe: cordon → drained → NotReady → cheapest → scale.

A pod is removed only when, in one and the same observation, its worker has written ``drained``, no row of ``river_job`` is
running for it and it is NotReady with the lowest deletion cost, in place for a second. The ReplicaSet then ranks it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rivermill_operator.model.observed import ClientView, DeploymentView, Observed, PodView, StoreView
from rivermill_operator.plan.plan import SetDeletionCost, SetReplicas

LOWEST_COST = -(2**31) + 1
SETTLE_SECONDS = 1.0
DEAD_AFTER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Member:
    """A pod and the client that runs in it."""

    pod: PodView
    client: ClientView | None

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop claiming, or is about to be removed."""
        return self.pod.deletion_cost == LOWEST_COST or (self.client is not None and self.client.wanted_state == "cordoned")

    @property
    def running(self) -> int:
        """Jobs that run in it."""
        return self.client.running if self.client else 0

    @property
    def hopeless(self) -> bool:
        """Whether nothing can be running in it: it has no node, or its container cannot start."""
        return self.client is None and (not self.pod.scheduled or (self.pod.trouble is not None and not self.pod.started))

    @property
    def empty(self) -> bool:
        """Whether it is safe to remove."""
        if self.hopeless:
            return True
        if self.client is None or self.running:
            return False
        dead = self.client.silent_seconds > DEAD_AFTER_SECONDS
        return not self.pod.ready and (self.client.state == "drained" or dead)


@dataclass(frozen=True, slots=True)
class Drain:
    """What to write to shrink the fleet safely."""

    cordon: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    costs: tuple[SetDeletionCost, ...] = ()
    scales: tuple[SetReplicas, ...] = ()
    costed: tuple[tuple[str, float], ...] = ()


def members(observed: Observed, template_hash: str) -> list[Member]:
    """Pods of one version that are not being deleted, each with its newest client."""
    clients: dict[str, ClientView] = {}
    if isinstance(observed.store, StoreView):
        for client in sorted(observed.store.clients, key=lambda c: c.client_id):
            if client.pod_uid and (client.pod_uid not in clients or client.silent_seconds <= DEAD_AFTER_SECONDS):
                clients[client.pod_uid] = client
    return [
        Member(pod, clients.get(pod.uid)) for pod in observed.pods if pod.template_hash == template_hash and not pod.deleting
    ]


def choose_victims(fleet: Iterable[Member], count: int) -> list[Member]:
    """The accepting pods to drain next: those that cannot work first, then the fewest running jobs, then the youngest.

    A pod that starts but has not reported yet is passed over: it can be cordoned as soon as it has.
    """
    candidates = [m for m in fleet if not m.draining and (m.client is not None or m.hopeless)]
    candidates.sort(key=lambda m: (not m.hopeless, m.running, m.pod.age_seconds))
    return candidates[: max(0, count)]


def shrink(
    deployment: DeploymentView, fleet: Sequence[Member], keep: int, now: float, costed: dict[str, float], max_step: int
) -> Drain:
    """Bring one Deployment towards ``keep`` accepting pods without touching a running job."""
    draining = [m for m in fleet if m.draining]
    accepting = deployment.replicas - len(draining)
    victims = choose_victims(fleet, min(accepting - keep, max_step)) if accepting > keep else []
    cordon = tuple(m.client.client_id for m in victims if m.client)
    costs, seen, removable = [], [], 0
    for member in [*draining, *(m for m in victims if m.client is None)]:
        pod = member.pod
        if not member.empty:
            continue
        if pod.deletion_cost != LOWEST_COST:
            costs.append(SetDeletionCost(pod.name, LOWEST_COST, pod.resource_version))
            continue
        since = costed.get(pod.uid, now)
        seen.append((pod.uid, since))
        removable += now - since >= SETTLE_SECONDS
    scales: tuple[SetReplicas, ...] = ()
    if removable:
        scales = (SetReplicas(deployment.name, max(0, deployment.replicas - removable), deployment.resource_version),)
    return Drain(cordon=cordon, costs=tuple(costs), scales=scales, costed=tuple(seen))


def grow(deployment: DeploymentView, fleet: Sequence[Member], desired: int) -> Drain:
    """Bring one Deployment up to ``desired`` accepting pods: draining ones first, for they are warm."""
    draining = sorted((m for m in fleet if m.draining), key=lambda m: (-m.running, -m.pod.age_seconds))
    missing = desired - (deployment.replicas - len(draining))
    back = [m for m in draining if m.client is not None and m.client.silent_seconds <= DEAD_AFTER_SECONDS]
    back = back[: max(0, missing)]
    uncordon = tuple(m.client.client_id for m in back if m.client)
    costs = tuple(SetDeletionCost(m.pod.name, None, m.pod.resource_version) for m in back if m.pod.deletion_cost == LOWEST_COST)
    replicas = desired + len(draining) - len(back)
    scales: tuple[SetReplicas, ...] = ()
    if replicas > deployment.replicas:
        scales = (SetReplicas(deployment.name, replicas, deployment.resource_version),)
    return Drain(uncordon=uncordon, costs=costs, scales=scales)
