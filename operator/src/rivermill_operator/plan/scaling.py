"""How many replicas the queues need: slots for what waits and what runs, within the bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from rivermill_operator.model.observed import QueueDepth, StoreView, Unknown
from rivermill_operator.model.spec import JobQueueSpec
from rivermill_operator.model.status import Decision
from rivermill_operator.plan.plan import Memory

CONNECTIONS_PER_POD = 3
AUTO_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Replicas after bounds, and how they came about."""

    replicas: int
    terms: dict[str, int]
    bounds: tuple[str, ...]
    sentence: str


def recommend(spec: JobQueueSpec, store: StoreView) -> Recommendation:
    """Replicas that give every waiting and running job a slot.

    A pod gives a queue at most ``maxWorkers`` slots and all queues together at most ``slots``. A paused queue needs room
    only for what still runs. A bounded depth counts as it is: beyond the bound the answer is ``maxReplicas`` anyway.
    """
    depths = {depth.name: depth for depth in store.queues}
    demands = {queue.name: _demand(depths.get(queue.name)) for queue in spec.queues}
    terms = {
        f"queue {queue.name}": math.ceil(demands[queue.name] / min(queue.max_workers, spec.worker.slots))
        for queue in spec.queues
    }
    terms["slots"] = math.ceil((sum(demands.values()) + spec.scaling.idle_slots) / spec.worker.slots)
    wanted = max(terms.values())
    replicas, bounds = _bound(spec, wanted)
    waiting = sum(depth.waiting for depth in store.queues)
    running = sum(depth.running for depth in store.queues)
    more = "more than " if any(depth.bounded for depth in store.queues) else ""
    sentence = f"{_count(replicas, 'pod')}: {more}{_count(waiting, 'job')} waiting and {running} running"
    sentence += f" need {_count(wanted, 'pod')}" if wanted else ", nothing to do"
    if bounds:
        sentence += f"; {', '.join(bounds)}"
    return Recommendation(replicas, terms, bounds, sentence + ".")


def _demand(depth: QueueDepth | None) -> int:
    if depth is None:
        return 0
    return depth.running + (0 if depth.paused else depth.waiting)


def _bound(spec: JobQueueSpec, wanted: int) -> tuple[int, tuple[str, ...]]:
    scaling, bounds = spec.scaling, []
    replicas = wanted
    if scaling.manual_replicas is not None and scaling.manual_replicas != replicas:
        replicas = scaling.manual_replicas
        bounds.append(f"manualReplicas {scaling.manual_replicas}")
    if replicas < scaling.min_replicas:
        replicas = scaling.min_replicas
        bounds.append(f"minReplicas {scaling.min_replicas}")
    if replicas > scaling.max_replicas:
        replicas = scaling.max_replicas
        bounds.append(f"maxReplicas {scaling.max_replicas}")
    budget = spec.database.max_connections
    if budget is not None and replicas > budget // CONNECTIONS_PER_POD:
        replicas = budget // CONNECTIONS_PER_POD
        bounds.append(f"maxConnections {budget} at {CONNECTIONS_PER_POD} a pod")
    return replicas, tuple(bounds)


def decide(
    spec: JobQueueSpec, store: StoreView | Unknown, memory: Memory, *, now: float, current: int
) -> tuple[Decision, Memory]:
    """The replicas to aim for now.

    Up at once, down only to the highest recommendation of the scale-in window. After a restart the window begins with the
    replicas that are there, so lost history never scales in. What cannot be observed is not zero: the replicas are held.

    Args:
        spec: the ``JobQueue``.
        store: the observation.
        memory: of the last decision.
        now: monotonic seconds.
        current: replicas now.
    """
    if isinstance(store, Unknown):
        return _hold(spec, store, current), memory
    recommendation = recommend(spec, store)
    window = spec.scaling.scale_in.window_seconds
    window = AUTO_WINDOW_SECONDS if window is None else window
    history = memory.recommendations or ((now, current),)
    history = (*((at, n) for at, n in history if now - window < at <= now), (now, recommendation.replicas))
    desired = max(_bound(spec, n)[0] if n != recommendation.replicas else n for _, n in history)
    pending = None
    if desired > recommendation.replicas:
        last = max(at for at, n in history if n > recommendation.replicas)
        pending = f"scale-in to {recommendation.replicas} allowed in {max(0.0, last + window - now):.0f} s"
    sentence = recommendation.sentence
    if pending:
        sentence = f"{_count(desired, 'pod')} held by the scale-in window ({pending}). Now: {sentence}"
    decision = Decision(desired, recommendation.terms, recommendation.bounds, pending, sentence)
    return decision, replace(memory, recommendations=_compact(history))


def _hold(spec: JobQueueSpec, unknown: Unknown, current: int) -> Decision:
    fallback = spec.scaling.fallback
    held = current
    if fallback.after_seconds > 0 and unknown.since_seconds >= fallback.after_seconds:
        held = max(current, min(fallback.replicas, spec.scaling.max_replicas))
    sentence = f"{_count(held, 'pod')} held: {unknown.message}"
    return Decision(held, {}, (), "waiting for the database", sentence)


def _compact(history: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    """Drop entries that a later one covers: only values above everything after them can matter."""
    kept: list[tuple[float, int]] = []
    for at, replicas in history:
        while kept and kept[-1][1] <= replicas:
            kept.pop()
        kept.append((at, replicas))
    return tuple(kept)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
