"""Every condition type and reason, and how conditions follow from what was observed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rivermill_operator.model.observed import INVALID_SPEC, Observed, PodView, StoreView, Unknown
from rivermill_operator.model.spec import JobQueue, Migrate, Mode
from rivermill_operator.model.status import MANUAL, REFUSED_TO, Condition, Decision
from rivermill_operator.plan.explain import count, limits
from rivermill_operator.plan.versions import versions

READY = "Ready"
QUEUE_OBSERVED = "QueueObserved"
SCHEMA_READY = "SchemaReady"
SCALING_ACTIVE = "ScalingActive"
SCALING_LIMITED = "ScalingLimited"
WORKERS_AVAILABLE = "WorkersAvailable"
TARGET_CONFLICT = "TargetConflict"

#: The schema keeps the queues from being read, and a pod is about to mend it.
MIGRATING = "Migrating"
SCHEMA_REASONS = frozenset({"SchemaMissing", "SchemaOutdated"})
SECRET_REASONS = frozenset({"SecretNotFound", "SecretKeyMissing"})
#: What does not mend itself while a JobQueue is being deleted, so that nobody waits for it.
BLIND_REASONS = SECRET_REASONS | {INVALID_SPEC}


_DELETING = "Deleting"


def _is(kind: str, *, true: bool, reason: str, message: str) -> Condition:
    return Condition(kind, "True" if true else "False", reason, message)


def conditions(
    job_queue: JobQueue,
    observed: Observed,
    decision: Decision,
    rejected: str | None = None,
    late_seconds: float = math.inf,
    ran_out: str | None = None,
    *,
    migrates: bool = False,
) -> tuple[Condition, ...]:
    """Every condition, in a fixed order. What could not be looked at is Unknown, not False.

    Args:
        job_queue: what is wanted.
        observed: the world as it is.
        decision: what was decided.
        rejected: why the current template gets no pods, if its trial failed.
        late_seconds: after which a pod should have become Ready.
        ran_out: that replicas set by hand no longer count, if the spec still holds them.
        migrates: whether a pod migrates the schema now, or will in a moment.
    """
    workers = _workers_available(observed, rejected, late_seconds)
    # Pods in trouble will mend nothing.
    observed = replace(observed, store=schema_told(observed, job_queue, migrates=migrates and workers.status == "True"))
    parts = (
        _queue_observed(observed),
        _schema_ready(observed),
        _scaling_active(job_queue, observed, decision, ran_out),
        _scaling_limited(decision),
        workers,
        _target_conflict(observed),
    )
    if job_queue.deleting:
        return (_is(READY, true=False, reason=_DELETING, message=decision.sentence), *parts)
    wrong = _first_wrong(parts)
    if wrong is not None:
        return (_is(READY, true=False, reason=wrong.reason, message=wrong.message), *parts)
    return (_ready(job_queue, observed, decision.desired_replicas or 0), *parts)


def _first_wrong(parts: Sequence[Condition]) -> Condition | None:
    wanted = {QUEUE_OBSERVED: "True", SCHEMA_READY: "True", WORKERS_AVAILABLE: "True", TARGET_CONFLICT: "False"}
    return next((part for part in parts if part.type in wanted and part.status != wanted[part.type]), None)


def _ready(job_queue: JobQueue, observed: Observed, desired: int) -> Condition:
    """The reason tells how far the fleet is; it goes by what ``readyReplicas`` shows, and is written with it."""
    ready, mode = observed.ready, job_queue.spec.mode
    if mode is not Mode.SCALE:
        message = f"The database is observed, and nothing is scaled, for spec.mode is {mode.value}."
        return _is(READY, true=True, reason=f"Mode{mode.value}", message=message)
    if ready < desired:
        so_far = f"{ready} of {count(desired, 'pod')} {'is' if ready == 1 else 'are'} Ready"
        return _is(READY, true=True, reason="PodsStarting", message=f"The database is observed; so far {so_far}.")
    old = _old(observed)
    if old:
        message = (
            f"The database is observed; {count(old, 'pod')} of older versions {'works' if old == 1 else 'work'} on so far."
        )
        return _is(READY, true=True, reason="RollingOut", message=message)
    return _is(READY, true=True, reason="AsDesired", message="The database is observed, and the fleet follows it.")


def _old(observed: Observed) -> int:
    """Pods of older versions that claim jobs."""
    latest = min(observed.deployments, key=lambda deployment: deployment.live_seconds, default=None)
    if all(deployment is latest or not deployment.replicas for deployment in observed.deployments):
        return 0
    return sum(version.serving for version in versions(observed) if version.deployment is not latest)


def _queue_observed(observed: Observed) -> Condition:
    if isinstance(observed.store, Unknown):
        store = observed.store
        if store.untried:
            return Condition(QUEUE_OBSERVED, "Unknown", store.reason, store.message)
        return _is(QUEUE_OBSERVED, true=False, reason=store.reason, message=store.message)
    if observed.store.degraded:
        age = count(observed.store.server.xmin_age, "transaction")
        message = f"Timed out and left out: {observed.store.degraded}; the oldest snapshot is {age} old."
        return _is(QUEUE_OBSERVED, true=True, reason="ObservedInPart", message=message)
    return _is(QUEUE_OBSERVED, true=True, reason="Observed", message="The queues were read.")


def schema_told(observed: Observed, job_queue: JobQueue, *, migrates: bool = False) -> StoreView | Unknown:
    """The observation; what is wrong with the schema is told as it concerns this JobQueue.

    With ``Apply`` there is nothing to be set, and where no pod is made none has logged why it did not migrate.

    Args:
        observed: the world as it is.
        job_queue: what is wanted.
        migrates: as of ``conditions``.
    """
    store, database = observed.store, job_queue.spec.database
    if not isinstance(store, Unknown) or store.reason not in SCHEMA_REASONS or database.migrate is not Migrate.APPLY:
        return store
    what = "has no tables of River's and Rivermill's" if store.reason == "SchemaMissing" else "is older than the operator needs"
    what = f"Schema {database.schema} {what}"
    if job_queue.deleting:
        return replace(store, message=f"{what}.")
    if job_queue.spec.mode is not Mode.SCALE:
        never = f"nothing migrates while mode is {job_queue.spec.mode.value}"
        return replace(store, message=f"{what}, and {never}: run `rivermill migrate up`, or set spec.mode to Scale.")
    if observed.conflict is not None:
        return replace(store, message=f"{what}.")
    if migrates:
        return replace(store, reason=MIGRATING, message=f"{what}: a pod migrates it before it works.")
    message = (
        f"{what}, although database.migrate is Apply: see what container migrate of the newest pod has logged, "
        "and whether the image has Rivermill as new as the operator."
    )
    return replace(store, message=message)


def _schema_ready(observed: Observed) -> Condition:
    if not isinstance(observed.store, Unknown):
        return _is(SCHEMA_READY, true=True, reason="VersionsPresent", message="River's and Rivermill's tables are there.")
    if observed.store.reason in SCHEMA_REASONS | {MIGRATING}:
        return _is(SCHEMA_READY, true=False, reason=observed.store.reason, message=observed.store.message)
    return Condition(SCHEMA_READY, "Unknown", observed.store.reason, "The database was not read.")


def _scaling_active(job_queue: JobQueue, observed: Observed, decision: Decision, ran_out: str | None) -> Condition:
    mode = job_queue.spec.mode
    if job_queue.deleting:
        return _is(SCALING_ACTIVE, true=False, reason=_DELETING, message=decision.sentence)
    if job_queue.wrong is not None:
        return _is(SCALING_ACTIVE, true=False, reason=INVALID_SPEC, message=job_queue.wrong)
    if mode is not Mode.SCALE:
        return _is(SCALING_ACTIVE, true=False, reason=f"Mode{mode.value}", message=f"spec.mode is {mode.value}.")
    if observed.conflict:
        return _is(SCALING_ACTIVE, true=False, reason="Conflict", message=observed.conflict)
    if isinstance(observed.store, Unknown):
        return _is(SCALING_ACTIVE, true=False, reason="Holding", message="Replicas are held: the queues cannot be read.")
    if decision.won == MANUAL:
        message = f"The spec sets the replicas by {decision.bounds[0].text}, and the queues do not; {decision.pending}."
    else:
        message = f"Replicas follow the queues{'' if ran_out is None else f'; {ran_out}'}."
    return _is(SCALING_ACTIVE, true=True, reason="Scaling", message=message)


def _scaling_limited(decision: Decision) -> Condition:
    """The last bound is the one that set the number."""
    if decision.bounds:
        text = limits(decision.bounds)
        message = f"{text[0].upper()}{text[1:]}."
        return _is(SCALING_LIMITED, true=True, reason=decision.bounds[-1].reason, message=message)
    return _is(SCALING_LIMITED, true=False, reason="WithinBounds", message="No bound changed the outcome.")


def _workers_available(observed: Observed, rejected: str | None, late_seconds: float) -> Condition:
    trouble = _trouble(observed, rejected, late_seconds)
    if trouble is not None:
        return _is(WORKERS_AVAILABLE, true=False, reason=trouble[0], message=trouble[1])
    return _is(WORKERS_AVAILABLE, true=True, reason="Healthy", message="No worker pod is in trouble.")


def _trouble(observed: Observed, rejected: str | None, late_seconds: float) -> tuple[str, str] | None:
    """Reason and message of the first thing that keeps workers away."""
    if rejected is not None:
        return "VersionRejected", rejected
    if observed.refused is not None:
        return "WriteRefused", f"{REFUSED_TO}{observed.refused}"
    alive = [pod for pod in observed.pods if not pod.deleting]
    for pod in alive:
        if pod.trouble and not pod.ready:
            return pod.trouble, f"Pod {pod.name}: {pod.cause or f'{pod.trouble}.'}"
    for deployment in observed.deployments:
        if deployment.failure is not None:
            return "FailedCreate", f"Kubernetes cannot make pods of Deployment {deployment.name}: {deployment.failure}"
    return _waiting(observed, alive, late_seconds)


def _waiting(observed: Observed, pods: Sequence[PodView], late_seconds: float) -> tuple[str, str] | None:
    for pod in pods:
        if pod.unplaced and not pod.scheduled:
            return "Unschedulable", f"Pod {pod.name} has no node: {pod.unplaced}"
    for pod in pods:
        if _late(pod, late_seconds):
            what = "runs and does not become Ready: see its log, and" if pod.started else "has not started: see"
            return "NotReady", f"Pod {pod.name} {what} `kubectl describe pod {pod.name}`."
    name = _cut_off(observed, pods, late_seconds)
    if name is not None:
        return (
            "NotReady",
            f"Pod {name} was Ready and is no longer, and its worker has not been heard of since: see its log.",
        )
    return None


def _late(pod: PodView, late_seconds: float) -> bool:
    """Whether a pod should have become Ready long ago; one that drains is not Ready either, and has been before."""
    unready = pod.age_seconds if pod.unready_seconds is None else pod.unready_seconds
    return pod.scheduled and not pod.ready and not pod.warm and unready > late_seconds


def _cut_off(observed: Observed, pods: Sequence[PodView], late_seconds: float) -> str | None:
    """The first pod that cannot reach a database which is there; one that drains is not to be Ready."""
    if isinstance(observed.store, Unknown) or all(pod.ready or not pod.warm for pod in pods):
        return None
    members = (member for version in versions(observed) for member in version.members)
    return next((m.pod.name for m in members if not m.draining and m.away_seconds > late_seconds), None)


def _target_conflict(observed: Observed) -> Condition:
    if observed.conflict:
        return _is(TARGET_CONFLICT, true=True, reason="AnotherWriter", message=observed.conflict)
    if observed.unlooked:
        return Condition(TARGET_CONFLICT, "Unknown", "ScalersUnreadable", observed.unlooked)
    return _is(TARGET_CONFLICT, true=False, reason="OnlyWriter", message="Nothing else scales this fleet.")
