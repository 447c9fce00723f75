"""``plan``: one look at the world, what is wanted, what is remembered → everything to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rivermill_operator.model.observed import INVALID_SPEC, DeploymentView, Moment, Observed, Unknown, Verdict
from rivermill_operator.model.spec import JobQueue, Mode
from rivermill_operator.model.status import Condition, Decision
from rivermill_operator.plan import by_hand, estimate, manifests, scaling
from rivermill_operator.plan.fleet import fleet_view, imagined
from rivermill_operator.plan.grace import short_grace
from rivermill_operator.plan.lost import find_lost
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.migration import migration, told, under_way
from rivermill_operator.plan.move import hold, move, rejection
from rivermill_operator.plan.plan import ApplyVersion, Event, Memory, Plan
from rivermill_operator.plan.reasons import MIGRATING, conditions, schema_told
from rivermill_operator.plan.rollout import mark_live, serving
from rivermill_operator.plan.taken import doomed, with_taken, wrong_victims
from rivermill_operator.plan.versions import Version, versions
from rivermill_operator.plan.wind_down import BUSY_SECONDS, wind_down

IDLE_SECONDS = 15.0


def plan(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
    """Decide what to write.

    Args:
        observed: the world as it is.
        job_queue: what is wanted.
        memory: what the last plan returned; an empty one after a restart.
    """
    if job_queue.deleting:
        return wind_down(observed, job_queue, memory)
    if job_queue.wrong is not None:
        return _refuse(observed, job_queue, memory)
    fleet = versions(observed)
    built = manifests.build(job_queue)
    made = next((version for version in fleet if version.name == built.version), None)
    if made is not None and made.deployment.name != built.deployment["metadata"]["name"]:
        built = manifests.build(job_queue, made.deployment.name)
    # While the API server refuses the current template, the last version that it took goes on.
    live = made or (fleet[0] if fleet and observed.refused is not None else None)
    old = [version for version in fleet if version is not live]
    unknown = isinstance(observed.store, Unknown)
    view = with_taken(fleet_view(live, old, memory.scaling, memory.desired), observed, memory)
    imagines = job_queue.spec.mode is Mode.OBSERVE and not observed.pods and not view.replicas
    if imagines:
        view = imagined(observed.store, memory.desired)
    moment = Moment(observed.now, observed.utc)
    decision, learnt = scaling.decide(job_queue.spec, schema_told(observed, job_queue), view, memory.scaling, moment)
    if imagines:
        decision = replace(decision, ready=0, imagined=decision.ready)
    # Beside another writer, which may be who sets the number, nothing is scaled by the rule.
    alone = observed.conflict is None
    ended = by_hand.ended(job_queue, memory.scaling, learnt) if alone else ()
    memory = _forget(memory, learnt) if job_queue.spec.mode is Mode.PAUSED else replace(memory, scaling=learnt)
    replicas = made.deployment.replicas if made else 0
    memory = replace(memory, migrating=migration(observed, job_queue, built.version, replicas, memory))
    migrates = under_way(observed, job_queue, memory.migrating)
    decision = _on_paper(observed, job_queue, told(decision, replicas, memory.migrating, goes_on=migrates))
    base = _base(observed, job_queue, decision, memory, made)
    base = replace(base, clear_manual=alone and by_hand.clears(job_queue, learnt), events=(*base.events, *ended))
    if job_queue.spec.mode is not Mode.SCALE:
        return base
    marked = mark_live(made, old, observed.utc) if made else None
    base = replace(base, apply=_apply(built, made.deployment if made else None), live=marked)
    if observed.conflict or live is None or decision.desired_replicas is None:
        # A Deployment that is not there yet is made first, empty; its creation wakes this loop again.
        return base
    if unknown:
        return hold(base, serving(live, old), view.accepting, live)
    return move(base, observed, job_queue, live, old)


def _refuse(observed: Observed, job_queue: JobQueue, memory: Memory) -> Plan:
    """A spec that is wrong decides nothing: the fleet stays as it is, and the conditions name the field."""
    decision = Decision(None, sentence=f"Nothing is decided, for the spec is wrong: {job_queue.wrong}.")
    return _base(observed, job_queue, decision, _forget(memory, memory.scaling), None)


def _forget(memory: Memory, learnt: ScalingMemory) -> Memory:
    """What is remembered would be old when the rule returns: it then begins as after a restart."""
    return Memory(
        desired=memory.desired, conditions=memory.conditions, warned=memory.warned, scaling=ScalingMemory(manual=learnt.manual)
    )


def _base(observed: Observed, job_queue: JobQueue, decision: Decision, memory: Memory, live: Version | None) -> Plan:
    """What holds in every mode: conditions, events, and the clients of pods that are gone."""
    rejected = rejection(live) if live is not None and live.deployment.verdict is Verdict.REJECTED else None
    late, ran_out = estimate.late_seconds(memory.scaling), by_hand.ran_out(job_queue, memory.scaling)
    migrates = under_way(observed, job_queue, memory.migrating)
    found = conditions(job_queue, observed, decision, rejected, late, ran_out, migrates=migrates)
    bury, lost = find_lost(observed, memory)
    victims = wrong_victims(observed, memory) if job_queue.spec.mode is Mode.SCALE else ()
    # Where nothing is written, pods that were asked for are asked for again at each look: they are no reason for the next one.
    grown = memory.scaling.grown if job_queue.spec.mode is Mode.SCALE and observed.conflict is None else None
    stops = job_queue.spec.mode is Mode.SCALE and job_queue.wrong is None
    warning, warned = short_grace(job_queue.spec.worker, memory.scaling, memory.warned) if stops else (None, memory.warned)
    remembered = replace(
        memory,
        warned=warned,
        desired=decision.desired_replicas,
        conditions=tuple(condition.turn for condition in found),
        homes=tuple(pod.uid for pod in observed.pods),
        doomed=doomed(observed, memory),
        lost=lost,
    )
    return Plan(
        decision=decision,
        conditions=found,
        memory=remembered,
        events=(
            *_scaling(memory, decision, job_queue, observed),
            *_turns(memory, found),
            *victims,
            *([warning] if warning else ()),
        ),
        bury=bury if job_queue.spec.mode is Mode.SCALE else (),
        wake_after=_wake_after(observed, decision, grown),
    )


def _apply(built: manifests.Manifests, live: DeploymentView | None) -> tuple[ApplyVersion, ...]:
    if live is not None and live.applied_hash == built.digest:
        return ()
    return (ApplyVersion(built.deployment["metadata"]["name"], built.deployment, built.budget),)


def _on_paper(observed: Observed, job_queue: JobQueue, decision: Decision) -> Decision:
    """What is decided beside another writer, or to be looked at, stays on paper, and the sentence says so."""
    why = "spec.mode is Observe." if job_queue.spec.mode is Mode.OBSERVE else observed.conflict
    if why is None or job_queue.spec.mode is Mode.PAUSED:
        return decision
    return replace(decision, sentence=f"Nothing is scaled: {why} It would be {decision.sentence}")


def _wake_after(observed: Observed, decision: Decision, grown: tuple[float, int] | None) -> float:
    if isinstance(observed.store, Unknown):
        return IDLE_SECONDS
    if grown is not None and observed.now - grown[0] < scaling.GROW_SECONDS:
        return scaling.GROW_SECONDS
    replicas = sum(d.replicas for d in observed.deployments)
    active = any(q.waiting or q.running or q.due_soon for q in observed.store.queues)
    moving = replicas != decision.desired_replicas or replicas > 0 or bool(observed.pods)
    return BUSY_SECONDS if active or moving else IDLE_SECONDS


def _scaling(memory: Memory, decision: Decision, job_queue: JobQueue, observed: Observed) -> tuple[Event, ...]:
    """Another number of replicas is worth an Event, also where it is not written."""
    mode, desired = job_queue.spec.mode, decision.desired_replicas
    if mode is Mode.PAUSED or None in (memory.desired, desired) or desired == memory.desired:
        return ()
    acts = mode is Mode.SCALE and observed.conflict is None
    return (Event("Normal", "Scaling" if acts else "WouldScale", decision.sentence),)


def _turns(memory: Memory, found: Sequence[Condition]) -> tuple[Event, ...]:
    """A condition that turned bad, or good again, is worth an Event."""
    events = []
    before = {turn[0]: turn for turn in memory.conditions}
    for condition in found:
        if condition.type in ("QueueObserved", "WorkersAvailable", "TargetConflict"):
            bad = condition.status == ("True" if condition.type == "TargetConflict" else "False")
            bad = bad or condition.reason == INVALID_SPEC
            was = before.get(condition.type)
            if bad and was != condition.turn:
                # What the operator does away with itself is no reason to worry.
                kind = "Normal" if condition.reason == MIGRATING else "Warning"
                events.append(Event(kind, condition.reason, condition.message))
            elif not bad and was is not None and was[1] != condition.status:
                events.append(Event("Normal", condition.reason, condition.message))
    return tuple(events)
