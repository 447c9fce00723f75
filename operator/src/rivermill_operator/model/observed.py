"""Everything one decision looks at, as values.

Times named ``now`` are seconds of a monotonic clock; ages are seconds measured on the clock of their source
(the database for jobs and clients, the API server's timestamps for pods).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue as the database shows it; ``bounded`` says that ``waiting`` is a lower bound."""

    name: str
    waiting: int = 0
    bounded: bool = False
    running: int = 0
    oldest_seconds: float | None = None
    due_soon: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ClientView:
    """One row of ``rivermill_client`` and how many rows of ``river_job`` it holds ``running``."""

    client_id: str
    pod_uid: str | None
    state: str
    wanted_state: str
    slots: int
    running: int
    silent_seconds: float


@dataclass(frozen=True, slots=True)
class StoreView:
    """One complete observation of the database."""

    queues: tuple[QueueDepth, ...]
    clients: tuple[ClientView, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the database could not be observed; ``since_seconds`` is how long ago that began.

    ``reason`` is a CamelCase condition reason (``SecretNotFound``, ``AuthenticationFailed``, ``SchemaMissing``, …),
    ``message`` a sentence without secrets.
    """

    reason: str
    message: str
    since_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PodView:
    """One worker pod. ``started`` says that its worker container runs; ``trouble`` is a waiting or termination reason."""

    name: str
    uid: str
    template_hash: str
    resource_version: str
    age_seconds: float
    started: bool
    ready: bool
    deleting: bool = False
    deletion_cost: int = 0
    scheduled: bool = True
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One worker Deployment; ``applied_hash`` is the hash annotation of the manifest last applied to it."""

    name: str
    template_hash: str
    resource_version: str
    replicas: int
    ready_replicas: int
    age_seconds: float
    applied_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the world. ``conflict`` names another writer of the same target, if there is one."""

    now: float
    store: StoreView | Unknown
    deployments: tuple[DeploymentView, ...] = ()
    pods: tuple[PodView, ...] = ()
    conflict: str | None = None
