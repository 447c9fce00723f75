"""What to write, as a value. ``control.apply`` is the only place that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rivermill_operator.model.observed import Verdict
from rivermill_operator.model.status import Condition, Decision, Turn
from rivermill_operator.plan.memory import ScalingMemory

#: Queues, and the seconds that their jobs had.
Warned = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decision remembers for the next one; a value, so that a decision can be replayed.

    Attributes:
        scaling: of the scaling decision.
        costed: pod uid → ``now`` at which its deletion cost was first seen in place.
        draining: pod uid → ``now`` at which it was first seen draining.
        removing: uids of the pods that a scale-in was about, while they are there.
        doomed: uids of the pods that were being deleted the last time that their jobs could be read.
        idle_since: pod uid → ``now`` since which nothing has run in it.
        homes: uids of the pods that were there last time.
        lost: pod uid → ``now`` at which it was found gone, until its clients are known to be gone too.
        ready_since: template hash of a version on trial, and ``now`` since which its pod has been Ready.
        empty_since: template hash → ``now`` since which an old version has had no pod.
        desired: the replicas last decided, for events on change.
        conditions: what told the conditions of the last plan from others, for events on change.
        warned: queues whose jobs were said to take longer than pods have.
        migrating: template hash and replicas that it shall have so that one of its pods migrates, while the schema is to blame.
    """

    scaling: ScalingMemory = ScalingMemory()
    costed: tuple[tuple[str, float], ...] = ()
    draining: tuple[tuple[str, float], ...] = ()
    removing: tuple[str, ...] = ()
    doomed: tuple[str, ...] = ()
    idle_since: tuple[tuple[str, float], ...] = ()
    homes: tuple[str, ...] = ()
    lost: tuple[tuple[str, float], ...] = ()
    ready_since: tuple[str, float] | None = None
    empty_since: tuple[tuple[str, float], ...] = ()
    desired: int | None = None
    conditions: tuple[Turn, ...] = ()
    warned: Warned = ()
    migrating: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class ApplyVersion:
    """Server-side apply of one version: its disruption budget, and its Deployment (never carrying ``spec.replicas``)."""

    name: str
    deployment: Mapping[str, Any]
    budget: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """Annotate a version's Deployment with what became of its trial.

    Attributes:
        trial: attempts that failed and that ended, of one that was rejected.
        event: to be told when that is written; until then the trial goes on.
    """

    deployment: str
    verdict: Verdict
    resource_version: str
    trial: tuple[int, int] | None = None
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class MarkLive:
    """Annotate a version's Deployment with when its template last became the current one; right whatever else has changed."""

    deployment: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Write ``/scale``; refused by the API server when the Deployment changed since it was seen.

    Attributes:
        grows: whether that makes pods, which jobs wait for, and so comes before what makes nobody wait.
    """

    deployment: str
    replicas: int
    resource_version: str
    grows: bool = False


@dataclass(frozen=True, slots=True)
class SetDeletionCost:
    """Annotate one pod so that the ReplicaSet removes it first (or no longer does)."""

    pod: str
    cost: int | None
    resource_version: str


@dataclass(frozen=True, slots=True)
class SetProtection:
    """Annotate one pod so that node autoscalers leave it alone, or may remove it."""

    pod: str
    protected: bool
    resource_version: str


@dataclass(frozen=True, slots=True)
class DeleteVersion:
    """Delete one version's Deployment, with the pods it has, and its disruption budget."""

    name: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the JobQueue."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one decision wants written, in the order in which the fields stand here.

    Of ``scales``, those that grow follow ``verdicts``.
    """

    decision: Decision
    conditions: tuple[Condition, ...]
    memory: Memory
    apply: tuple[ApplyVersion, ...] = ()
    verdicts: tuple[SetVerdict, ...] = ()
    bury: tuple[str, ...] = ()
    uncordon: tuple[str, ...] = ()
    cordon: tuple[str, ...] = ()
    protections: tuple[SetProtection, ...] = ()
    deletion_costs: tuple[SetDeletionCost, ...] = ()
    scales: tuple[SetReplicas, ...] = ()
    deletions: tuple[DeleteVersion, ...] = ()
    release_ownership: tuple[str, ...] = ()
    clear_manual: bool = False
    live: MarkLive | None = None
    events: tuple[Event, ...] = ()
    done: bool = False
    wake_after: float = 15.0
