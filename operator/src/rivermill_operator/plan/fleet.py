"""The fleet as the scaling decision sees it, from pods, Deployments and clients."""

from __future__ import annotations

from collections import Counter

from rivermill_operator.model.observed import FleetView, Observed, StartingPod
from rivermill_operator.plan import drain
from rivermill_operator.plan.memory import ScalingMemory


def fleet_view(observed: Observed, template_hash: str, memory: ScalingMemory) -> FleetView:
    """Count the pods of every version that take jobs; those of an older template than ``template_hash`` are a rollout.

    Args:
        observed: the world.
        template_hash: of the version that is wanted.
        memory: of the last decision, which knows the pods that were starting then.
    """
    members = [m for d in observed.deployments for m in drain.members(observed, d.template_hash)]
    accepting = [m for m in members if not m.draining]
    busy: Counter[str] = Counter()
    for member in accepting:
        busy.update(member.client.running_by_queue if member.client else {})
    starting = [StartingPod(m.pod.uid, m.pod.age_seconds, m.pod.scheduled) for m in accepting if not m.pod.ready]
    replicas = sum(d.replicas for d in observed.deployments)
    missing = max(0, replicas - len(members))
    was_starting = frozenset(memory.starting)
    return FleetView(
        replicas=replicas,
        ready=sum(1 for m in accepting if m.pod.ready),
        starting=(*starting, *(StartingPod("", 0.0) for _ in range(missing))),
        draining=len(members) - len(accepting),
        busy=dict(busy),
        started=tuple(
            m.pod.ready_after_seconds
            for m in accepting
            if m.pod.ready and m.pod.uid in was_starting and m.pod.ready_after_seconds is not None
        ),
        rolling_out=any(m.pod.template_hash != template_hash for m in accepting),
    )
