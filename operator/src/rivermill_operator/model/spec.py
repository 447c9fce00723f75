"""The ``JobQueue`` resource as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """What the operator may do with the fleet."""

    SCALE = "Scale"
    OBSERVE = "Observe"
    PAUSED = "Paused"


class Migrate(StrEnum):
    """Who brings the schema to the version the workers need."""

    VERIFY = "Verify"
    APPLY = "Apply"


class DeletionPolicy(StrEnum):
    """What happens to the fleet when its ``JobQueue`` is deleted."""

    DRAIN = "Drain"
    IMMEDIATE = "Immediate"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue that the fleet works; ``max_workers`` is River's MaxWorkers for one pod."""

    name: str
    max_workers: int
    priority: int = 1
    target_wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """Where the jobs are."""

    secret_name: str
    secret_key: str
    schema: str = "public"
    migrate: Migrate = Migrate.VERIFY
    max_connections: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How one worker pod runs. Durations are seconds."""

    image: str
    app: str
    slots: int
    max_attempts: int = 25
    poll_interval: float = 1.0
    shutdown_timeout: float = 30.0
    template: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScaleInSpec:
    """How fast the fleet may shrink; ``window_seconds`` None means ``auto``, ``max_step`` is pods or a percentage."""

    window_seconds: float | None = None
    max_step: str = "100%"


@dataclass(frozen=True, slots=True)
class FallbackSpec:
    """Replicas to hold at least once observation failed for ``after_seconds`` (0: only hold)."""

    after_seconds: float = 0.0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """The bounds of the fleet."""

    max_replicas: int
    min_replicas: int = 0
    idle_slots: int = 0
    scale_in: ScaleInSpec = ScaleInSpec()
    fallback: FallbackSpec = FallbackSpec()
    manual_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How a new template replaces an old one."""

    strategy: str = "Rainbow"
    keep_seconds: float = 86400.0


@dataclass(frozen=True, slots=True)
class JobQueueSpec:
    """The whole ``spec`` with every default filled in."""

    database: DatabaseSpec
    queues: tuple[QueueSpec, ...]
    worker: WorkerSpec
    scaling: ScalingSpec
    mode: Mode = Mode.SCALE
    rollout: RolloutSpec = RolloutSpec()
    deletion_policy: DeletionPolicy = DeletionPolicy.DRAIN


@dataclass(frozen=True, slots=True)
class JobQueue:
    """One ``JobQueue`` object: identity, generation and parsed spec."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: JobQueueSpec
    deleting: bool = False
