"""What a deleted ``JobQueue`` leaves behind, as its deletion policy says."""

from __future__ import annotations

from dataclasses import replace

from rivermill_operator.model.observed import Observed, Unknown
from rivermill_operator.model.spec import DeletionPolicy, JobQueue
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import drain
from rivermill_operator.plan.plan import DeleteVersion, Memory, Plan, SetReplicas
from rivermill_operator.plan.reasons import BLIND_REASONS, conditions
from rivermill_operator.plan.versions import versions

BUSY_SECONDS = 1.5
#: How long a deletion waits for a database that cannot be read before it trusts SIGTERM to drain the pods.
BLIND_DRAIN_SECONDS = 60.0


def wind_down(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
    """Decide what to write while the object waits for its finalizer."""
    policy = job_queue.spec.deletion_policy
    members = [member for version in versions(observed) for member in version.members]
    decision = Decision(
        0,
        sentence=f"The JobQueue is being deleted ({policy.value}){_left(observed)}.",
        ready=sum(member.pod.ready and not member.draining for member in members),
        draining=sum(member.draining for member in members),
    )
    base = Plan(
        decision=decision,
        conditions=conditions(job_queue, observed, decision),
        memory=memory,
        wake_after=BUSY_SECONDS,
    )
    deployments = observed.deployments
    if policy is DeletionPolicy.ORPHAN:
        # Nobody calls back later what drains now.
        stay = drain.Drain.joined([drain.grow(v, v.deployment.replicas, warm_only=True) for v in versions(observed)])
        released = tuple(d.name for d in deployments)
        return replace(base, uncordon=stay.uncordon, deletion_costs=stay.costs, release_ownership=released, done=True)
    if not deployments:
        # Pods of deleted Deployments still finish their jobs within the grace period; wait for them.
        return replace(base, done=not observed.pods)
    if policy is DeletionPolicy.IMMEDIATE:
        return replace(base, deletions=tuple(DeleteVersion(d.name, d.resource_version) for d in deployments))
    if isinstance(observed.store, Unknown):
        blind = observed.store.reason in BLIND_REASONS or observed.store.since_seconds > BLIND_DRAIN_SECONDS
        scales = tuple(SetReplicas(d.name, 0, d.resource_version) for d in deployments if d.replicas) if blind else ()
        return replace(base, scales=scales, deletions=_empty(observed))
    return _drain(base, observed, job_queue)


def _left(observed: Observed) -> str:
    """What the deletion waits for, as the end of a sentence."""
    if not observed.pods:
        return ""
    pods = f": {len(observed.pods)} pod{'s are' if len(observed.pods) > 1 else ' is'} left"
    if isinstance(observed.store, Unknown):
        return f"{pods}; the database cannot be read"
    own = {pod.uid for pod in observed.pods}
    running = sum(client.running for client in observed.store.clients if client.pod_uid in own)
    return f"{pods}, with {running} job{'' if running == 1 else 's'} running"


def _drain(base: Plan, observed: Observed, job_queue: JobQueue) -> Plan:
    memory = base.memory
    clock = drain.Clock(observed.now, dict(memory.costed), dict(memory.draining), job_queue.spec.rollout.max_drain_seconds)
    drained = drain.Drain.joined([drain.shrink(version, 0, clock) for version in versions(observed)])
    return replace(
        base,
        memory=replace(memory, costed=drained.costed, draining=drained.draining),
        cordon=drained.cordon,
        deletion_costs=drained.costs,
        scales=drained.scales,
        deletions=_empty(observed),
        wake_after=drain.SETTLE_SECONDS,
    )


def _empty(observed: Observed) -> tuple[DeleteVersion, ...]:
    empty = [version.deployment for version in versions(observed) if version.empty(observed.pods)]
    return tuple(DeleteVersion(deployment.name, deployment.resource_version) for deployment in empty)
