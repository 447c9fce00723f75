"""How many replicas a fleet needs, and why: one pure function for the operator, the simulator, ``explain`` and the tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rivermill_operator.model.observed import PAUSED, FleetView, Moment, QueueDepth, StoreView, Unknown
from rivermill_operator.model.spec import JobQueueSpec, QueueSpec
from rivermill_operator.model.status import MANUAL, Bound, Decision, QueueInputs
from rivermill_operator.plan import bounds, by_hand, counted, estimate, explain, terms, window
from rivermill_operator.plan.memory import QueueMemory, ScalingMemory
from rivermill_operator.plan.probes import assumed_seconds

#: More pods are asked for at most so often: what comes within a moment is one write.
GROW_SECONDS = 0.5
#: Durations that make an estimate.
ENOUGH_JOBS = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the queues ask for before bounds.

    Attributes:
        out: to grow to.
        known: to grow at all: more than are there, without what bursts are yet expected to bring.
        down: to shrink to at most.
        calm: to shrink to if it were not for bursts and backlogs.
        terms: what each term asks for.
        limits: of queues, and their pauses, that cut it.
    """

    out: int
    known: int
    down: int
    calm: int
    terms: Mapping[str, int]
    limits: tuple[Bound, ...] = ()


def decide(
    spec: JobQueueSpec, store: StoreView | Unknown, fleet: FleetView, memory: ScalingMemory, now: Moment
) -> tuple[Decision, ScalingMemory]:
    """The replicas to aim for now: pods that accept jobs, those that drain not counted.

    Up at once; down only to the highest recommendation of the scale-in window. After a restart the window begins with the
    replicas that are there, so lost history never scales in. What cannot be observed is not zero: the replicas are held.

    Args:
        spec: the ``JobQueue``.
        store: the observation of the database.
        fleet: the observation of the pods.
        memory: of the last decision; an empty one after a restart.
        now: when.
    """
    memory = estimate.learn_pod_starts(memory, fleet, now.seconds)
    memory = by_hand.see(spec, memory, now.seconds)
    pod_start = estimate.pod_start_seconds(memory, fleet)
    if isinstance(store, Unknown):
        return _hold(spec, store, fleet, memory), window.blind(memory, store, window.seconds(spec, pod_start))
    memory = window.begin(memory, now.seconds, fleet.accepting)
    known = {queue.name: queue for queue in memory.queues}
    depths = {depth.name: depth for depth in store.queues}
    loads, queues, inputs = [], [], []
    for queue in spec.queues:
        depth = depths.get(queue.name, QueueDepth(queue.name))
        before = known.get(queue.name, QueueMemory(queue.name))
        learnt, rate, job = estimate.update_queue(before, depth, assumed_seconds(queue), now.seconds)
        found = counted.count(before.counted, depth, learnt.samples, now.seconds)
        load = _load(spec, queue, depth, found.waiting, fleet, rate, job)
        # What was read in part teaches nothing: the next whole look counts for the time that was missed.
        queues.append(before if store.degraded else replace(learnt, counted=found))
        loads.append(load)
        inputs.append(_inputs(depth, load))
    measured = any(_just_measured(known.get(learnt.name), learnt) for learnt in queues)
    memory = replace(memory, queues=tuple(queues))
    memory = replace(memory, idle=None) if store.degraded else _see_idle(memory, [*depths.values()], now.seconds)
    ended = memory.idle is not None and now.seconds - memory.idle[0] >= window.seconds(spec, pod_start)
    if ended:
        # Nothing came for a whole window: the stream has ended, whatever the slow average still says.
        loads = [replace(load, rate=estimate.Rate()) for load in loads]
    if measured or ended:
        # What was recommended on an assumed job time, or for a stream that has ended, is no evidence.
        memory = replace(memory, recommendations=(), peaks=())
    wanted = _wanted(spec, loads, fleet, memory, now)
    paused = (depth.name for depth in store.queues if depth.paused and depth.waiting)
    pauses = (Bound("QueuePaused", f"the pause of queue {name}") for name in paused)
    wanted = replace(wanted, limits=(*wanted.limits, *pauses))
    decision, memory = _settle(spec, store, fleet, memory, now, wanted, loads, pod_start)
    return replace(
        decision,
        queues=tuple(inputs),
        pod_start_seconds=pod_start,
        ready=fleet.ready,
        starting=len(fleet.starting),
        draining=fleet.draining,
    ), memory


def _see_idle(memory: ScalingMemory, depths: list[QueueDepth], now: float) -> ScalingMemory:
    arrived = sum(depth.arrived for depth in depths)
    if any(depth.running or depth.due_soon or (depth.waiting and not depth.paused) for depth in depths):
        return replace(memory, idle=None)
    same = memory.idle is not None and memory.idle[1] == arrived
    return memory if same else replace(memory, idle=(now, arrived))


def _just_measured(before: QueueMemory | None, after: QueueMemory) -> bool:
    return before is not None and before.jobs < ENOUGH_JOBS <= after.jobs


def _load(
    spec: JobQueueSpec,
    queue: QueueSpec,
    depth: QueueDepth,
    waiting: int,
    fleet: FleetView,
    rate: estimate.Rate,
    job: estimate.JobSeconds,
) -> terms.Load:
    active = not depth.paused
    busy_seconds = depth.running_seconds / depth.running if depth.running else 0.0
    limit = math.inf if depth.concurrency_limit is None else float(depth.concurrency_limit)
    useful = math.inf
    if depth.rate_limit is not None:
        # Jobs that have run for longer than the average so far say more than the average.
        useful = terms.slots_of_rate(depth.rate_limit, max(job.mean, busy_seconds))
    return terms.Load(
        name=queue.name,
        goal=queue.target_wait_seconds,
        slots_per_pod=min(queue.max_workers, spec.worker.slots),
        rate=rate if active else estimate.Rate(),
        job=job,
        waiting=waiting if active else 0,
        counted=depth.waiting if active and depth.bounded else None,
        due_soon=depth.due_soon if active else 0,
        oldest=depth.oldest_seconds or 0.0 if active else 0.0,
        busy=fleet.busy.get(queue.name, 0),
        leaving=fleet.leaving.get(queue.name, 0),
        busy_seconds=busy_seconds,
        limit=min(limit, useful),
        rate_limited=useful < limit,
    )


def _inputs(depth: QueueDepth, load: terms.Load) -> QueueInputs:
    return QueueInputs(
        name=load.name,
        waiting=depth.waiting,
        bounded=depth.bounded,
        running=depth.running,
        oldest_seconds=depth.oldest_seconds or 0.0,
        due_soon=depth.due_soon,
        arrivals_slow=load.rate.slow,
        arrivals_fast=load.rate.fast,
        job_seconds=load.job.mean,
        measured=load.job.measured,
        paused=depth.paused,
        concurrency_limit=depth.concurrency_limit,
        rate_limit=depth.rate_limit,
    )


def _wanted(spec: JobQueueSpec, loads: list[terms.Load], fleet: FleetView, memory: ScalingMemory, now: Moment) -> Wanted:
    stuck, pod_start = _stuck(fleet, memory), estimate.pod_start_seconds(memory, fleet)
    capacity = terms.Capacity(fleet.ready, len(fleet.starting) - stuck, spec.worker.slots, pod_start)
    # A pod that never starts is replaced by another, but only where others do start.
    lost = min(stuck, fleet.ready)
    found = terms.compute(loads, capacity, spec.scaling.max_replicas)
    floors = {}
    if spec.scaling.idle_slots:
        floors["idleSlots"] = math.ceil((sum(load.busy for load in loads) + spec.scaling.idle_slots) / spec.worker.slots)
    if spec.scaling.schedules:
        floors["schedule"] = bounds.schedule_floor(spec, now, pod_start)
    least = max(floors.values(), default=0)
    limits = _limits(loads, capacity, spec.scaling.max_replicas, found.out)
    without = [load.calm for load in loads]
    same = all(one is other for one, other in zip(without, loads, strict=True))
    calm = found.down if same else terms.compute(without, capacity, spec.scaling.max_replicas).down
    named = {**found.named(), **floors}
    out, known, down, calm = (max(pods + lost, least) for pods in (found.out, found.known, found.down, calm))
    return Wanted(out, known, down, calm, named, limits)


def _limits(loads: list[terms.Load], capacity: terms.Capacity, most: int, wanted: int) -> tuple[Bound, ...]:
    """The limits of queues without which more pods than ``wanted`` were asked for."""
    return tuple(
        _limit(load)
        for load in loads
        if math.isfinite(load.limit)
        and terms.compute([replace(other, limit=math.inf) if other is load else other for other in loads], capacity, most).out
        > wanted
    )


def _limit(load: terms.Load) -> Bound:
    if load.rate_limited:
        slots = explain.count(int(load.limit), "slot")
        return Bound("RateLimit", f"the rate limit of queue {load.name}, which {slots} can use up")
    running = explain.count(int(load.limit), "running job")
    return Bound("ConcurrencyLimit", f"the limit of {running} of queue {load.name}")


def _stuck(fleet: FleetView, memory: ScalingMemory) -> int:
    """Pods that should have been Ready long ago."""
    late = estimate.late_seconds(memory)
    return sum(1 for pod in fleet.starting if pod.scheduled and pod.age_seconds > late)


def _settle(
    spec: JobQueueSpec,
    store: StoreView,
    fleet: FleetView,
    memory: ScalingMemory,
    now: Moment,
    wanted: Wanted,
    loads: list[terms.Load],
    pod_start: float,
) -> tuple[Decision, ScalingMemory]:
    """From what the queues ask for to what is aimed for now: manual, bounds, window, guards."""
    current = fleet.size
    long, short = window.seconds(spec, pod_start), window.seconds(spec, pod_start, window.PEAK_WINDOW_SECONDS)
    memory = window.remember(memory, now.seconds, (wanted.calm, long), (wanted.down, short))
    manual = by_hand.replicas(memory)
    if manual is not None:
        bounded = bounds.apply(spec, manual, store.server, fleet)
        reasons = (Bound("ManualReplicas", f"manualReplicas {manual}"), *bounded.bounds)
        left = spec.scaling.manual_seconds - (now.seconds - memory.manual.since) if memory.manual else 0.0
        returns = f"the rule returns {explain.when(now, left)}"
        decision = Decision(bounded.replicas, wanted.terms, reasons, returns, won=MANUAL)
        return replace(decision, sentence=explain.sentence(decision, loads, wanted.out, fleet.draining)), memory
    needed = bounds.apply(spec, wanted.out, store.server, fleet)
    target, pending = needed.replicas, None
    if target < current:
        standing = window.standing(memory, now.seconds, long, short)
        highest = max(n for _, n in standing)
        held = min(current, max(target, bounds.apply(spec, highest, store.server, fleet).replicas))
        pending = _guard(spec, store, fleet, loads, memory)
        if pending:
            held = current
        elif held > target:
            until = max((until for until, n in standing if n >= held), default=now.seconds)
            pending = _why_held(target, held, wanted.down, explain.when(now, until - now.seconds))
        least = current - max(0, bounds.step(spec.scaling.scale_in.max_step, current) - fleet.draining)
        if pending is None and held < least:
            pending = f"scale-in to {held} in steps of {spec.scaling.scale_in.max_step}"
        # The most that the spec allows is obeyed at once.
        target = min(max(held, least), bounds.most(spec))
    elif target > current:
        known = bounds.apply(spec, wanted.known, store.server, fleet).replicas
        target, pending, memory = _grow(spec, fleet, memory, now.seconds, target, known)
    won = explain.winner(wanted.terms, needed.replicas)
    decision = Decision(target, wanted.terms, (*wanted.limits, *needed.bounds), pending, won=won)
    return replace(decision, sentence=explain.sentence(decision, loads, wanted.out, fleet.draining)), memory


def _grow(
    spec: JobQueueSpec, fleet: FleetView, memory: ScalingMemory, now: float, target: int, known: int
) -> tuple[int, str | None, ScalingMemory]:
    """To grow to ``target`` at once, or why not."""
    current = fleet.size
    if fleet.starting and not fleet.ready and _stuck(fleet, memory):
        pending = "no pod becomes Ready: see condition WorkersAvailable"
        return max(current, min(spec.scaling.min_replicas, target)), pending, memory
    if known <= current:
        # What a burst may bring is asked for together with what it has brought, or each look would write.
        pending = f"scale-out to {target} once more jobs wait than {explain.count(current, 'pod')} can start in time"
        return current, pending, memory
    if memory.grown is None or now - memory.grown[0] >= GROW_SECONDS:
        return target, None, replace(memory, grown=(now, target))
    if target > max(current, memory.grown[1]):
        return max(current, memory.grown[1]), f"scale-out to {target} in a moment", memory
    return target, None, memory


def _why_held(target: int, held: int, down: int, when: str) -> str:
    if down >= held:
        return f"scale-in to {target} would leave less than a tenth to spare"
    return f"scale-in to {target} allowed {when}"


def _guard(
    spec: JobQueueSpec, store: StoreView, fleet: FleetView, loads: list[terms.Load], memory: ScalingMemory
) -> str | None:
    """Why nothing may be scaled in now."""
    if store.degraded:
        return f"no scale-in while the database is read in part only: {store.degraded}"
    if fleet.rolling_out:
        return "no scale-in during a rollout"
    settling = len(fleet.starting) - _stuck(fleet, memory)
    slots = max(1, fleet.ready * spec.worker.slots)
    for load in loads:
        if load.rate_limited or fleet.ready * load.slots_per_pod >= load.limit:
            continue  # There are as many slots as its limit can use.
        if load.waiting and load.oldest > load.goal / 2:
            return f"no scale-in while jobs of queue {load.name} have waited for more than half their goal"
        if load.waiting * load.job.mean / slots > load.goal / 2:
            return f"no scale-in while jobs of queue {load.name} would wait longer than half their goal"
        if load.counted is not None:
            return f"no scale-in while more jobs of queue {load.name} wait than were counted"
    if settling and any(load.waiting for load in loads):
        return f"no scale-in while jobs wait for {explain.count(settling, 'pod')} to start"
    return None


def _hold(spec: JobQueueSpec, unknown: Unknown, fleet: FleetView, memory: ScalingMemory) -> Decision:
    fallback, most = spec.scaling.fallback, bounds.most(spec)
    held = fleet.accepting
    seen = Decision(None, ready=fleet.ready, starting=len(fleet.starting), draining=fleet.draining)
    if unknown == PAUSED:
        return replace(seen, desired_replicas=held, sentence=f"{explain.count(held, 'pod')} left alone: {unknown.message}")
    if fallback.after_seconds > 0 and unknown.since_seconds >= fallback.after_seconds:
        held = max(held, min(fallback.replicas, most))
    held = max(held, min(by_hand.replicas(memory) or 0, most))
    sentence = f"{explain.count(held, 'pod')} held: {unknown.message}"
    return replace(seen, desired_replicas=held, pending="waiting for the database", sentence=sentence)
