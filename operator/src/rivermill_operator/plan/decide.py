"""``plan``: one look at the world, what is wanted, what is remembered → everything to write."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rivermill_operator.model.names import MANIFEST_ANNOTATION
from rivermill_operator.model.observed import DeploymentView, Moment, Observed, StoreView, Unknown
from rivermill_operator.model.spec import DeletionPolicy, JobQueue, Migrate, Mode
from rivermill_operator.model.status import Condition, Decision
from rivermill_operator.plan import drain, manifests, scaling
from rivermill_operator.plan.fleet import fleet_view
from rivermill_operator.plan.plan import ApplyDeployment, DeleteDeployment, Event, Memory, Plan, SetReplicas
from rivermill_operator.plan.reasons import SECRET_REASONS, conditions

BUSY_SECONDS = 1.5
IDLE_SECONDS = 15.0
#: How long a deletion waits for a database that cannot be read before it trusts SIGTERM to drain the pods.
BLIND_DRAIN_SECONDS = 60.0


def plan(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
    """Decide what to write.

    Args:
        observed: the world as it is.
        job_queue: what is wanted.
        memory: what the last plan returned; an empty one after a restart.
    """
    if job_queue.deleting:
        return _delete(observed, job_queue, memory)
    version = manifests.template_hash(job_queue)
    live = next((d for d in observed.deployments if d.template_hash == version), None)
    fleet = fleet_view(observed, version, memory.scaling)
    moment = Moment(observed.now, observed.utc)
    decision, learnt = scaling.decide(job_queue.spec, observed.store, fleet, memory.scaling, moment)
    memory = replace(memory, scaling=learnt)
    decision = _bootstrap(job_queue, observed, decision)
    found = conditions(job_queue, observed, decision)
    quiet = Plan(
        decision=decision,
        conditions=found,
        memory=_remember(memory, decision, found),
        events=_events(memory, decision, found),
        wake_after=_wake_after(observed, decision),
    )
    if job_queue.spec.mode is not Mode.SCALE:
        return quiet
    apply = _apply(job_queue, live)
    if observed.conflict or live is None or decision.desired_replicas is None:
        # A Deployment that is not there yet is made first, empty; its creation wakes this loop again.
        return replace(quiet, apply=apply, wake_after=0.0 if live is None and not observed.conflict else quiet.wake_after)
    return _move(replace(quiet, apply=apply), observed, job_queue, live, decision.desired_replicas)


def _move(base: Plan, observed: Observed, job_queue: JobQueue, live: DeploymentView, desired: int) -> Plan:
    """Bring the live version to ``desired`` and drain every older one."""
    memory, now = base.memory, observed.now
    costed = dict(memory.costed)
    old = [d for d in observed.deployments if d.name != live.name]
    old_replicas = sum(d.replicas for d in old)
    step = _step(job_queue.spec.scaling.scale_in.max_step, live.replicas)
    fleet = drain.members(observed, live.template_hash)
    accepting = live.replicas - sum(1 for m in fleet if m.draining)
    drains = []
    if desired > accepting:
        drains.append(drain.grow(live, fleet, desired))
    elif isinstance(observed.store, StoreView):
        drains.append(drain.shrink(live, fleet, desired, now, costed, step))
    if isinstance(observed.store, StoreView):
        spare = max(0, min(desired, old_replicas) - live.ready_replicas)
        for deployment in old:
            keep = min(spare, deployment.replicas)
            spare -= keep
            parts = drain.members(observed, deployment.template_hash)
            drains.append(drain.shrink(deployment, parts, keep, now, costed, deployment.replicas))
    empty_since, deletions = _retire(observed, old, dict(memory.empty_since), job_queue.spec.rollout.keep_seconds)
    seen = tuple(pair for part in drains for pair in part.costed)
    waiting_to_settle = any(now - since < drain.SETTLE_SECONDS for _, since in seen) or any(p.costs for p in drains)
    return replace(
        base,
        memory=replace(memory, costed=seen, empty_since=empty_since),
        cordon=tuple(client for part in drains for client in part.cordon),
        uncordon=tuple(client for part in drains for client in part.uncordon),
        deletion_costs=tuple(cost for part in drains for cost in part.costs),
        scales=tuple(scale for part in drains for scale in part.scales),
        deletions=deletions,
        wake_after=min(base.wake_after, drain.SETTLE_SECONDS) if waiting_to_settle else base.wake_after,
    )


def _retire(
    observed: Observed, old: Sequence[DeploymentView], empty_since: dict[str, float], keep_seconds: float
) -> tuple[tuple[tuple[str, float], ...], tuple[DeleteDeployment, ...]]:
    """Old versions without pods, since when, and those whose time for a roll back is over."""
    occupied = {pod.template_hash for pod in observed.pods}
    empty = [d for d in old if d.replicas == 0 and d.template_hash not in occupied]
    since = {d.template_hash: empty_since.get(d.template_hash, observed.now) for d in empty}
    gone = tuple(
        DeleteDeployment(d.name, d.resource_version) for d in empty if observed.now - since[d.template_hash] >= keep_seconds
    )
    return tuple(since.items()), gone


def _delete(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
    """Wind the fleet down as the deletion policy says."""
    policy = job_queue.spec.deletion_policy
    decision = Decision(0, sentence=f"The JobQueue is being deleted ({policy.value}).")
    base = Plan(
        decision=decision,
        conditions=conditions(job_queue, observed, decision),
        memory=memory,
        wake_after=BUSY_SECONDS,
    )
    deployments = observed.deployments
    if policy is DeletionPolicy.ORPHAN:
        return replace(base, release_ownership=tuple(d.name for d in deployments), done=True)
    if not deployments:
        # Pods of deleted Deployments still finish their jobs within the grace period; wait for them.
        return replace(base, done=not observed.pods)
    if policy is DeletionPolicy.IMMEDIATE:
        return replace(base, deletions=tuple(DeleteDeployment(d.name, d.resource_version) for d in deployments))
    if isinstance(observed.store, Unknown):
        blind = observed.store.reason in SECRET_REASONS or observed.store.since_seconds > BLIND_DRAIN_SECONDS
        if not blind:
            return replace(base, deletions=_empty(observed))
        scales = tuple(SetReplicas(d.name, 0, d.resource_version) for d in deployments if d.replicas)
        return replace(base, scales=scales, deletions=_empty(observed))
    costed = dict(memory.costed)
    drains = [
        drain.shrink(d, drain.members(observed, d.template_hash), 0, observed.now, costed, d.replicas) for d in deployments
    ]
    return replace(
        base,
        memory=replace(memory, costed=tuple(pair for part in drains for pair in part.costed)),
        cordon=tuple(client for part in drains for client in part.cordon),
        deletion_costs=tuple(cost for part in drains for cost in part.costs),
        scales=tuple(scale for part in drains for scale in part.scales),
        deletions=_empty(observed),
        wake_after=drain.SETTLE_SECONDS,
    )


def _empty(observed: Observed) -> tuple[DeleteDeployment, ...]:
    occupied = {pod.template_hash for pod in observed.pods}
    return tuple(
        DeleteDeployment(d.name, d.resource_version)
        for d in observed.deployments
        if d.replicas == 0 and d.template_hash not in occupied
    )


def manifest_hash(manifest: dict[str, Any]) -> str:
    """Digest of a manifest, kept as an annotation: what has been applied once needs no second apply."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def _apply(job_queue: JobQueue, live: DeploymentView | None) -> tuple[ApplyDeployment, ...]:
    manifest = manifests.deployment(job_queue)
    digest = manifest_hash(manifest)
    if live is not None and live.applied_hash == digest:
        return ()
    manifest["metadata"]["annotations"] = {MANIFEST_ANNOTATION: digest}
    return (ApplyDeployment(manifest["metadata"]["name"], manifest),)


def _bootstrap(job_queue: JobQueue, observed: Observed, decision: Decision) -> Decision:
    """With ``migrate: Apply`` a first pod makes the tables that nothing could be read from yet."""
    missing = isinstance(observed.store, Unknown) and observed.store.reason in ("SchemaMissing", "SchemaOutdated")
    if not missing or job_queue.spec.database.migrate is not Migrate.APPLY or decision.desired_replicas != 0:
        return decision
    return replace(decision, desired_replicas=1, sentence="1 pod: it migrates the schema before anything can be read.")


def _step(max_step: str, replicas: int) -> int:
    if max_step.endswith("%"):
        return max(1, math.floor(replicas * int(max_step[:-1]) / 100))
    return int(max_step)


def _wake_after(observed: Observed, decision: Decision) -> float:
    if isinstance(observed.store, Unknown):
        return IDLE_SECONDS
    replicas = sum(d.replicas for d in observed.deployments)
    active = any(q.waiting or q.running or q.due_soon for q in observed.store.queues)
    moving = replicas != decision.desired_replicas or replicas > 0 or bool(observed.pods)
    return BUSY_SECONDS if active or moving else IDLE_SECONDS


def _remember(memory: Memory, decision: Decision, found: Sequence[Condition]) -> Memory:
    return replace(
        memory,
        desired=decision.desired_replicas,
        conditions=tuple((c.type, c.status, c.reason) for c in found),
    )


def _events(memory: Memory, decision: Decision, found: Sequence[Condition]) -> tuple[Event, ...]:
    """What is worth an Event: another number of replicas, and a condition that turned bad or good again."""
    events = []
    if memory.desired is not None and decision.desired_replicas != memory.desired:
        events.append(Event("Normal", "Scaling", decision.sentence))
    before = {kind: (status, reason) for kind, status, reason in memory.conditions}
    for condition in found:
        if condition.type in ("QueueObserved", "WorkersAvailable", "TargetConflict"):
            bad = condition.status == ("True" if condition.type == "TargetConflict" else "False")
            was = before.get(condition.type)
            if bad and was != (condition.status, condition.reason):
                events.append(Event("Warning", condition.reason, condition.message))
            elif not bad and was is not None and was[0] != condition.status:
                events.append(Event("Normal", condition.reason, condition.message))
    return tuple(events)
