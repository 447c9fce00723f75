"""The ``JobQueue`` resource as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rivermill_operator.model.cron import Cron


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
    """One queue that the fleet works.

    ``max_workers`` is River's MaxWorkers for one pod; ``expected_job_seconds`` counts until jobs have been measured
    (None: a job is then taken to last a quarter of what it may wait).
    """

    name: str
    max_workers: int
    priority: int = 1
    target_wait_seconds: float = 30.0
    expected_job_seconds: float | None = None


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
class ScheduleSpec:
    """A floor that begins at the times of ``cron`` (in ``time_zone``) and lasts ``duration_seconds``."""

    cron: Cron
    duration_seconds: float
    replicas: int
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """The bounds of the fleet; ``manual_replicas`` replaces the rule for ``manual_seconds``."""

    max_replicas: int
    min_replicas: int = 0
    idle_slots: int = 0
    scale_in: ScaleInSpec = ScaleInSpec()
    fallback: FallbackSpec = FallbackSpec()
    schedules: tuple[ScheduleSpec, ...] = ()
    manual_replicas: int | None = None
    manual_seconds: float = 3600.0


class RolloutStrategy(StrEnum):
    """How many pods a rollout may add."""

    RAINBOW = "Rainbow"
    ROLLING_UPDATE = "RollingUpdate"


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How a new template replaces an old one.

    Attributes:
        strategy: Rainbow starts the whole new version at once; RollingUpdate adds at most ``max_surge`` pods.
        max_surge: pods, or a percentage of those wanted, that RollingUpdate may add.
        gate_seconds: a new version's first pod must stay Ready this long, or end enough attempts, before others follow.
        keep_seconds: how long an emptied old version is kept for a roll back.
        max_drain_seconds: after this long, a draining pod is stopped with its jobs; None waits for ever.
    """

    strategy: RolloutStrategy = RolloutStrategy.RAINBOW
    max_surge: str = "25%"
    gate_seconds: float = 30.0
    keep_seconds: float = 86400.0
    max_drain_seconds: float | None = None


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
    """One ``JobQueue`` object: identity, generation and parsed spec; ``created`` is an RFC 3339 time of the API server.

    ``wrong`` says what is wrong with the spec; ``spec`` then holds what could be read of it. ``by_scale`` says that the scale
    subresource set ``manualReplicas`` (``kubectl scale``), and no manifest.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: JobQueueSpec
    created: str = ""
    deleting: bool = False
    wrong: str | None = None
    by_scale: bool = False
