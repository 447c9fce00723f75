"""Brings the fleet's versions to their sizes: what to cordon, uncordon, mark, scale and delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rivermill_operator.model.observed import Observed, StoreView, Verdict
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import bounds, drain
from rivermill_operator.plan.plan import DeleteVersion, Event, Plan, SetReplicas, SetVerdict
from rivermill_operator.plan.protect import protect
from rivermill_operator.plan.rollout import Rollout, Target, last_accepted, roll
from rivermill_operator.plan.versions import Version

#: Old versions without pods that are kept for a roll back, as many as a Deployment keeps of its own ReplicaSets.
KEPT_VERSIONS = 10


def move(base: Plan, observed: Observed, job_queue: JobQueue, live: Version, old: Sequence[Version]) -> Plan:
    """Bring the versions of a fleet that was observed completely to ``base.decision.desired_replicas``.

    Args:
        base: the decision, and the memory to add to.
        observed: the world as it is.
        job_queue: what is wanted.
        live: the version of the current template.
        old: the others, the last live one first.
    """
    assert isinstance(observed.store, StoreView)
    assert base.decision.desired_replicas is not None
    spec, memory, now = job_queue.spec, base.memory, observed.now
    budget = spec.database.max_connections
    rollout = roll(
        spec.rollout,
        live,
        old,
        base.decision.desired_replicas,
        limit=None if budget is None else budget // bounds.CONNECTIONS_PER_POD,
        free=bounds.free(observed.store.server, (live, *old)),
        now=now,
        ready_since=memory.ready_since,
    )
    clock = drain.Clock(now, dict(memory.costed), dict(memory.draining), spec.rollout.max_drain_seconds)
    moved = drain.Drain.joined([_bring(target, clock) for target in rollout.targets])
    protections, idle_since = protect((m for v in (live, *old) for m in v.members), dict(memory.idle_since), now)
    empty_since, deletions = _retire(observed, live, old, dict(memory.empty_since), spec.rollout.keep_seconds)
    settling = bool(moved.costs) or any(now - since < drain.SETTLE_SECONDS for _, since in moved.costed)
    return replace(
        base,
        decision=_explained(base, rollout),
        memory=replace(
            memory,
            costed=moved.costed,
            draining=moved.draining,
            removing=_still_there(observed, (*memory.removing, *moved.removed)),
            idle_since=idle_since,
            ready_since=rollout.ready_since,
            empty_since=empty_since,
        ),
        verdicts=_verdict(live, rollout),
        cordon=moved.cordon,
        uncordon=moved.uncordon,
        protections=protections,
        deletion_costs=moved.costs,
        scales=moved.scales,
        deletions=deletions,
        wake_after=min(base.wake_after, drain.SETTLE_SECONDS) if settling else base.wake_after,
    )


def hold(base: Plan, serving: Version, current: int, live: Version) -> Plan:
    """Scale nothing in while the queues cannot be read; ``current`` is the fleet's size as the decision saw it.

    More than there are can only be wanted for a migration, which is the business of the ``live`` version, by a fallback or by
    hand: those are added to ``serving``.
    """
    migrating, deployment = base.memory.migrating, live.deployment
    if migrating is not None and migrating[0] == live.name and deployment.replicas < migrating[1]:
        scale = SetReplicas(deployment.name, migrating[1], deployment.resource_version, grows=True)
        return replace(base, scales=(scale,))
    extra = (base.decision.desired_replicas or 0) - current
    if extra <= 0:
        return base
    deployment = serving.deployment
    scale = SetReplicas(deployment.name, deployment.replicas + extra, deployment.resource_version, grows=True)
    return replace(base, scales=(scale,))


def _bring(target: Target, clock: drain.Clock) -> drain.Drain:
    version = target.version
    if target.accepting > version.accepting:
        # What is drained meanwhile goes on being so, and is removed when there is no more to add.
        found = drain.grow(version, target.accepting, warm_only=not target.grows)
        return replace(found, draining=tuple((uid, clock.draining.get(uid, clock.now)) for uid in _uids(version)))
    return drain.shrink(version, target.accepting, clock)


def _uids(version: Version) -> list[str]:
    return [member.pod.uid for member in version.draining]


def _explained(base: Plan, rollout: Rollout) -> Decision:
    if rollout.pending is None:
        return base.decision
    pending = "; ".join(part for part in (base.decision.pending, rollout.pending) if part)
    return replace(base.decision, pending=pending)


def _verdict(live: Version, rollout: Rollout) -> tuple[SetVerdict, ...]:
    """What to write where a version's trial has ended; of a rejection the condition tells, which turns when it is written."""
    deployment = live.deployment
    if rollout.verdict is deployment.verdict:
        return ()
    mark = SetVerdict(deployment.name, rollout.verdict, deployment.resource_version)
    if rollout.verdict is Verdict.REJECTED:
        return (replace(mark, trial=(live.failed, live.ended)),)
    event = Event("Normal", "VersionAccepted", f"Version {live.name} works: the fleet moves to it.")
    return (replace(mark, event=event),)


def _still_there(observed: Observed, uids: Sequence[str]) -> tuple[str, ...]:
    here = {pod.uid for pod in observed.pods}
    return tuple(dict.fromkeys(uid for uid in uids if uid in here))


def rejection(live: Version) -> str:
    """Why a version gets no pods, and the way out; its pods that would tell the numbers have gone."""
    trial = live.deployment.trial
    attempts = "more attempts than" if trial is None else f"{trial[0]} of {trial[1]} attempts, more than"
    return (
        f"Version {live.name} failed {attempts} the versions before: it gets no pods, "
        "and the last accepted version serves on. `rivermill job list --state retryable` lists such jobs, and "
        "`rivermill job get ID` their errors. Change spec.worker to a version that works."
    )


def _retire(
    observed: Observed, live: Version, old: Sequence[Version], empty_since: dict[str, float], keep_seconds: float
) -> tuple[tuple[tuple[str, float], ...], tuple[DeleteVersion, ...]]:
    """Old versions without pods, since when, and those that nobody will roll back to: too old, or too many since.

    The last accepted one is needed, however old, until the live one is accepted: it serves if that one is rejected.
    """
    empty = [v for v in old if v.empty(observed.pods)]
    since = {v.name: empty_since.get(v.name, observed.now) for v in empty}
    accepted = last_accepted(old)
    needed = None if live.deployment.verdict is Verdict.ACCEPTED else accepted
    many = [v for v in empty[KEPT_VERSIONS:] if v is not accepted]
    gone = tuple(
        DeleteVersion(v.deployment.name, v.deployment.resource_version)
        for v in empty
        if v is not needed and (observed.now - since[v.name] >= keep_seconds or v in many)
    )
    return tuple(since.items()), gone
