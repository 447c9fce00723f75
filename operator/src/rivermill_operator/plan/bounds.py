"""What limits the replicas that the queues ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rivermill_operator.model.observed import FleetView, Moment, ServerView
from rivermill_operator.model.spec import JobQueueSpec
from rivermill_operator.model.status import Bound
from rivermill_operator.plan.versions import Version

CONNECTIONS_PER_POD = 3


class Bounded(NamedTuple):
    """Replicas, and the bounds that changed them in the order applied."""

    replicas: int
    bounds: tuple[Bound, ...] = ()


def apply(spec: JobQueueSpec, wanted: int, server: ServerView, fleet: FleetView) -> Bounded:
    """Bring ``wanted`` within what the spec and the database allow."""
    scaling, replicas, bounds = spec.scaling, wanted, []
    if replicas < scaling.min_replicas:
        replicas = scaling.min_replicas
        bounds.append(Bound("MinReplicas", f"minReplicas {scaling.min_replicas}"))
    for limit, bound in _limits(spec, server, fleet):
        if replicas > limit:
            replicas = limit
            bounds.append(bound)
    return Bounded(replicas, tuple(bounds))


def most(spec: JobQueueSpec) -> int:
    """The most pods by the spec alone, for when the server's connections are not known."""
    return min(limit for limit, _ in _limits(spec, ServerView(), FleetView()))


def _limits(spec: JobQueueSpec, server: ServerView, fleet: FleetView) -> list[tuple[int, Bound]]:
    most = spec.scaling.max_replicas
    limits = [(most, Bound("MaxReplicas", f"maxReplicas {most}"))]
    budget = spec.database.max_connections
    if budget is not None:
        text = f"maxConnections {budget} at {CONNECTIONS_PER_POD} a pod"
        limits.append((budget // CONNECTIONS_PER_POD, Bound("MaxConnections", text)))
    if server.connections_limit is not None:
        own = CONNECTIONS_PER_POD * (fleet.ready + fleet.beside + fleet.draining)
        others = max(0, server.connections_used - own)
        room = max(0, server.connections_limit - others) // CONNECTIONS_PER_POD
        # What others open and close must not drain pods that hold their connections already.
        text = f"the server's {server.connections_limit} connections, {others} in use by others"
        limits.append((max(room, fleet.accepting), Bound("ServerConnections", text)))
    return limits


def free(server: ServerView, fleet: Iterable[Version]) -> float:
    """Pods that the server has connections for besides all that are there or start; infinite where it did not say."""
    if server.connections_limit is None:
        return math.inf
    coming = sum(max(0, version.accepting - version.serving) for version in fleet)
    return (server.connections_limit - server.connections_used) // CONNECTIONS_PER_POD - coming


def schedule_floor(spec: JobQueueSpec, now: Moment, lead_seconds: float) -> int:
    """The highest floor of the schedules that are open, or will be before a pod could start."""
    floor = 0
    for schedule in spec.scaling.schedules:
        zone, duration = ZoneInfo(schedule.time_zone), timedelta(seconds=schedule.duration_seconds)
        moments = (now.utc, now.utc + timedelta(seconds=lead_seconds))
        if any(schedule.cron.active(moment, zone, duration) for moment in moments):
            floor = max(floor, schedule.replicas)
    return floor


def step(max_step: str, replicas: int) -> int:
    """Pods that may drain at once."""
    if max_step.endswith("%"):
        return max(1, replicas * int(max_step[:-1]) // 100)
    return int(max_step)
