"""What to write, as a value. ``control.apply`` is the only place that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rivermill_operator.model.status import Condition, Decision
from rivermill_operator.plan.memory import ScalingMemory


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decision remembers for the next one; a value, so that a decision can be replayed.

    Attributes:
        scaling: of the scaling decision.
        costed: pod uid → ``now`` at which its deletion cost was first seen in place.
        empty_since: template hash → ``now`` since which an old version has had no pod.
        desired: the replicas last decided, for events on change.
        conditions: ``(type, status, reason)`` of the last plan, for events on change.
    """

    scaling: ScalingMemory = ScalingMemory()
    costed: tuple[tuple[str, float], ...] = ()
    empty_since: tuple[tuple[str, float], ...] = ()
    desired: int | None = None
    conditions: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyDeployment:
    """Server-side apply of one Deployment (never carrying ``spec.replicas``)."""

    name: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Write ``/scale``; refused by the API server when the Deployment changed since it was seen."""

    deployment: str
    replicas: int
    resource_version: str


@dataclass(frozen=True, slots=True)
class SetDeletionCost:
    """Annotate one pod so that the ReplicaSet removes it first (or no longer does)."""

    pod: str
    cost: int | None
    resource_version: str


@dataclass(frozen=True, slots=True)
class DeleteDeployment:
    """Delete one Deployment that has no pods left (or, ``immediate``, with them)."""

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
    """Everything one decision wants written, in the order in which the fields stand here."""

    decision: Decision
    conditions: tuple[Condition, ...]
    memory: Memory
    apply: tuple[ApplyDeployment, ...] = ()
    uncordon: tuple[str, ...] = ()
    cordon: tuple[str, ...] = ()
    deletion_costs: tuple[SetDeletionCost, ...] = ()
    scales: tuple[SetReplicas, ...] = ()
    deletions: tuple[DeleteDeployment, ...] = ()
    release_ownership: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    done: bool = False
    wake_after: float = 15.0
