"""Which pods node autoscalers (Karpenter, cluster-autoscaler) must leave alone: those that run a job, or did a moment ago."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rivermill_operator.plan.plan import SetProtection
from rivermill_operator.plan.versions import Member

#: A pod is released when it has been idle this long, so that a busy fleet costs no write for each job.
IDLE_SECONDS = 60.0
#: Pods of one plan: the fleet is not looked at while they are written, and each of these writes asks for the next look.
MOST_AT_ONCE = 5


def protect(
    members: Iterable[Member], idle_since: Mapping[str, float], now: float
) -> tuple[tuple[SetProtection, ...], tuple[tuple[str, float], ...]]:
    """What to annotate, and since when each pod has been idle. Pods are made protected, and those to protect come first.

    Args:
        members: every pod with its client, of one complete observation.
        idle_since: as the last call returned it.
        now: seconds of a monotonic clock.
    """
    idle, changes = {}, []
    for member in members:
        pod = member.pod
        if member.client is None or (member.draining and not member.running):
            continue
        if member.running:
            # One that drains, too: its last job may have come just before it was told to.
            wanted = True
        else:
            idle[pod.uid] = idle_since.get(pod.uid, now)
            wanted = pod.protected and now - idle[pod.uid] < IDLE_SECONDS
        if wanted is not pod.protected:
            changes.append(SetProtection(pod.name, wanted, pod.resource_version))
    changes.sort(key=lambda change: not change.protected)
    return tuple(changes[:MOST_AT_ONCE]), tuple(idle.items())
