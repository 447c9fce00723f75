"""The fleet by versions: each Deployment with its pods, and each pod with the client that runs in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rivermill_operator.model.observed import ClientView, DeploymentView, Observed, PodView, StoreView

LOWEST_COST = -(2**31) + 1
DEAD_AFTER_SECONDS = 30.0
#: A pod whose container has not started by then waits for something that may never come, such as a volume.
LATE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Member:
    """A pod and the client that runs in it; ``readable_seconds`` is since when the database can be read."""

    pod: PodView
    client: ClientView | None
    readable_seconds: float = math.inf

    @property
    def draining(self) -> bool:
        """Whether it has been told to stop claiming, or is about to be removed."""
        return self.pod.deletion_cost == LOWEST_COST or (self.client is not None and self.client.wanted_state == "cordoned")

    @property
    def running(self) -> int:
        """Jobs that run in it."""
        return self.client.running if self.client else 0

    @property
    def serving(self) -> bool:
        """Whether it claims jobs: Ready, and not told to stop."""
        return self.pod.ready and not self.draining

    @property
    def away_seconds(self) -> float:
        """How long nothing has been heard of the worker of a pod that was Ready, and is so no more.

        While the database was away nobody could be heard of: after an outage every worker has its time to come back.
        """
        if self.pod.ready or not self.pod.warm:
            return 0.0
        away = (self.pod.unready_seconds or 0.0) if self.client is None else self.client.silent_seconds
        return min(away, self.readable_seconds)

    @property
    def hopeless(self) -> bool:
        """Whether no job can be running in it: it has no node, or its container cannot start, or should have long ago.

        Or its worker has been cut off from the database for so long that its row is gone, and its jobs run elsewhere.
        """
        pod = self.pod
        if self.client is not None:
            return False
        if pod.scheduled and pod.started:
            return self.away_seconds > LATE_SECONDS
        return not pod.scheduled or pod.trouble is not None or pod.age_seconds > LATE_SECONDS

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
class Version:
    """One pod template of a fleet: its Deployment and the pods of it that are not being deleted, nor are about to be."""

    deployment: DeploymentView
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The hash of its template."""
        return self.deployment.template_hash

    @property
    def draining(self) -> tuple[Member, ...]:
        """The pods that finish their jobs and take no more."""
        return tuple(member for member in self.members if member.draining)

    @property
    def recallable(self) -> tuple[Member, ...]:
        """The draining pods that can be told to take jobs again: their workers are alive."""
        return tuple(m for m in self.draining if m.client is not None and m.client.silent_seconds <= DEAD_AFTER_SECONDS)

    @property
    def accepting(self) -> int:
        """Replicas that claim, or will once they have started."""
        return max(0, self.deployment.replicas - len(self.draining))

    @property
    def serving(self) -> int:
        """Pods that claim now."""
        return sum(1 for member in self.members if member.serving)

    @property
    def unreported(self) -> int:
        """Accepting replicas that cannot be told to stop yet: their pods start, or are still to be made.

        They go first as soon as they have reported; one that works must not go in their place, or nobody claims meanwhile.
        """
        starting = [m for m in self.members if m.client is None and not m.draining and not m.hopeless]
        return len(starting) + max(0, self.deployment.replicas - len(self.members))

    @property
    def ended(self) -> int:
        """Attempts that ended in its pods."""
        return sum(member.client.ended for member in self.members if member.client)

    @property
    def failed(self) -> int:
        """Attempts that ended with an error in its pods."""
        return sum(member.client.failed for member in self.members if member.client)

    def stalled(self, late_seconds: float) -> bool:
        """Whether it waits for nothing but pods that should have been Ready so long ago, or that Kubernetes does not make."""
        pods = [member.pod for member in self.members if not (member.pod.ready or member.draining)]
        waited = [pod.age_seconds if pod.unready_seconds is None else pod.unready_seconds for pod in pods]
        coming = self.deployment.replicas > len(self.members) and self.deployment.failure is None
        return self.serving < self.accepting and not coming and all(seconds > late_seconds for seconds in waited)

    def empty(self, pods: Iterable[PodView]) -> bool:
        """Whether it has no pod and is to have none; ``pods`` are all of the fleet, those that are being deleted included."""
        return self.deployment.replicas == 0 and not any(pod.template_hash == self.name for pod in pods)


def versions(observed: Observed) -> tuple[Version, ...]:
    """Every version that has a Deployment, the one whose template was last the current one first."""
    clients: dict[str, ClientView] = {}
    if isinstance(observed.store, StoreView):
        for client in sorted(observed.store.clients, key=lambda c: c.client_id):
            if client.pod_uid and (client.pod_uid not in clients or client.silent_seconds <= DEAD_AFTER_SECONDS):
                clients[client.pod_uid] = client
    readable = observed.readable_seconds
    alive = [Member(pod, clients.get(pod.uid), readable) for pod in observed.pods if not pod.deleting]
    return tuple(
        Version(deployment, _staying(deployment, [m for m in alive if m.pod.template_hash == deployment.template_hash]))
        for deployment in sorted(observed.deployments, key=lambda d: (d.live_seconds, d.name))
    )


def _staying(deployment: DeploymentView, members: Sequence[Member]) -> tuple[Member, ...]:
    """Without the marked pods that the Deployment has been scaled down by already, and its ReplicaSet deletes in a moment.

    Counted as draining ones they would be taken off its replicas once more, and be called back for what seems to be missing.
    """
    marked = [member for member in members if member.pod.deletion_cost == LOWEST_COST and not member.pod.ready]
    going = marked[: max(0, len(members) - deployment.replicas)]
    return tuple(member for member in members if member not in going)
