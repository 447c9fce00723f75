"""The fleet as the scaling decision sees it, from its versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rivermill_operator.model.observed import FleetView, StartingPod, StoreView, Unknown
from rivermill_operator.plan.estimate import late_seconds
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.rollout import trusted
from rivermill_operator.plan.versions import Member, Version


def fleet_view(live: Version | None, old: Sequence[Version], memory: ScalingMemory, last: int | None) -> FleetView:
    """Count the pods that take jobs. What a rollout has twice is counted once, or the fleet would be held at both its sizes.

    Args:
        live: the version of the current template, if it is there.
        old: the others.
        memory: of the last decision, which knows the pods that were starting then.
        last: the replicas last decided; None after a restart.
    """
    fleet = [*([live] if live else []), *old]
    members = [member for version in fleet for member in version.members]
    accepting = [member for member in members if not member.draining]
    busy: Counter[str] = Counter()
    for member in accepting:
        busy.update(member.client.running_by_queue if member.client else {})
    was_starting = frozenset(memory.starting)
    starting = [_starting(m, was_starting) for m in accepting if not m.pod.ready]
    missing = sum(max(0, v.deployment.replicas - len(v.members)) for v in fleet)
    size = _size(live, old, last)
    at_work = sum(version.serving for version in fleet)
    ready = min(size, at_work)
    return FleetView(
        replicas=sum(v.deployment.replicas for v in fleet),
        ready=ready,
        starting=(*starting, *(StartingPod("", 0.0) for _ in range(missing)))[: size - ready],
        draining=sum(len(version.draining) for version in fleet),
        beside=at_work - ready,
        busy=dict(busy),
        started=tuple(
            m.pod.ready_after_seconds
            for m in accepting
            if m.pod.ready and m.pod.uid in was_starting and m.pod.ready_after_seconds is not None
        ),
        rolling_out=_rolling_out(live, old, late_seconds(memory)),
    )


def _rolling_out(live: Version | None, old: Sequence[Version], late: float) -> bool:
    """Whether old pods will give way to new ones; a rollout that waits for pods which do not come has no end."""
    if live is not None and live.stalled(late):
        return False
    return trusted(live, old) and any(version.accepting for version in old)


def imagined(store: StoreView | Unknown, last: int | None) -> FleetView:
    """The fleet as it would be had it followed the last decision at once: what Observe goes by where others have the pods.

    Args:
        store: whoever runs jobs of its queues, they are busy in it.
        last: the replicas last decided; None after a restart.
    """
    size = last or 0
    busy = {depth.name: depth.running for depth in store.queues} if isinstance(store, StoreView) else {}
    return FleetView(replicas=size, ready=size, busy=busy)


def _starting(member: Member, was_starting: frozenset[str]) -> StartingPod:
    """The age of a pod says nothing about its start where it was Ready before.

    One that takes jobs again after it had drained is back within a second, one whose container was restarted begins anew. One
    that does not come back, for it is cut off from the database, say, is late in the end like one that never starts.
    One whose containers have all started for the first time is Ready in a moment, and its start is still to be learnt.
    """
    pod = member.pod
    if pod.warm:
        return StartingPod(pod.uid if pod.uid in was_starting else "", member.away_seconds, warm=True)
    if pod.unready_seconds is not None:
        return StartingPod("", pod.unready_seconds, pod.scheduled)
    return StartingPod(pod.uid, pod.age_seconds, pod.scheduled)


def _size(live: Version | None, old: Sequence[Version], last: int | None) -> int:
    new, rest = live.accepting if live else 0, sum(version.accepting for version in old)
    if not new or not rest:
        return new + rest
    if last is None:
        return max(new, rest, sum(version.serving for version in (*([live] if live else []), *old)))
    return min(new + rest, last)
