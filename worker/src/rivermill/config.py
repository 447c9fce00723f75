"""Settings of a client: arguments beat environment beats file.

Names in the environment are River's (``RIVER_*``), in YAML ``jobs.river.*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from rivermill.schema import Schema


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How one process works one queue.

    Args:
        max_workers: slots this process gives to the queue, 1 to 10,000 (River's MaxWorkers).
        priority: share of free slots when there are fewer than the queues could use; higher is more urgent.
        fetch_cooldown: least time between two claims of this queue; None takes the client's.
        poll_interval: longest time between two claims of this queue; None takes the client's.
    """

    max_workers: int
    priority: int = 1
    fetch_cooldown: timedelta | None = None
    poll_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Where this process runs in Kubernetes, from the downward API; all None elsewhere."""

    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of one client, complete and validated."""

    dsn: str = field(repr=False)
    client_id: str
    schema: Schema = Schema()
    queues: Mapping[str, QueueConfig] = field(default_factory=dict)
    slots: int | None = None
    max_attempts: int = 25
    poll_interval: timedelta = timedelta(seconds=1)
    fetch_cooldown: timedelta = timedelta(milliseconds=10)
    job_timeout: timedelta | None = timedelta(minutes=1)
    shutdown_timeout: timedelta = timedelta(seconds=30)
    rescue_after: timedelta = timedelta(hours=1)
    completed_retention: timedelta | None = timedelta(hours=24)
    cancelled_retention: timedelta | None = timedelta(hours=24)
    discarded_retention: timedelta | None = timedelta(days=7)
    pod: PodIdentity = PodIdentity()
    http_host: str | None = None
    http_port: int | None = None
