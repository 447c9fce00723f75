"""The terms of the scaling rule: how many slots, and then pods, a fleet's queues ask for. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rivermill_operator.plan.erlang import slots_for
from rivermill_operator.plan.estimate import JobSeconds, Rate

#: A goal that is missed already, or that a pod's start uses up, still leaves this share of it to plan with.
LEAST_SHARE = 0.4
#: Scale-in leaves so much more than is needed, so that noise does not call the pods back.
SPARE = 1.1


@dataclass(frozen=True, slots=True)
class Load:
    """One queue as the terms see it.

    Attributes:
        name: the queue.
        goal: seconds that a job may wait.
        slots_per_pod: slots that one pod gives to it.
        rate: its arrivals.
        job: its durations.
        waiting: due jobs.
        counted: how many of them were counted, where that is a lower bound; None where they all were.
        due_soon: jobs that become due before a pod could start.
        oldest: wait of the oldest due job.
        busy: slots of accepting pods that it holds.
        leaving: its jobs in pods that somebody else deletes.
        busy_seconds: seconds that these slots stay busy, on average; 0 means as long as a job takes.
        limit: slots that it may hold at all, or that its rate limit can use.
        rate_limited: whether the rate limit is what ``limit`` comes from.
    """

    name: str
    goal: float
    slots_per_pod: int
    rate: Rate = Rate()
    job: JobSeconds = JobSeconds(1.0)
    waiting: int = 0
    counted: int | None = None
    due_soon: int = 0
    oldest: float = 0.0
    busy: int = 0
    leaving: int = 0
    busy_seconds: float = 0.0
    limit: float = math.inf
    rate_limited: bool = False

    @property
    def quiet(self) -> bool:
        """Whether nothing waits, runs, is known to come or came lately."""
        return not (self.waiting or self.busy or self.leaving or self.due_soon or self.rate.fast)

    @property
    def calm(self) -> Load:
        """The same without its burst and its backlog; itself where it has neither."""
        rate = self.rate
        if not (self.waiting or self.due_soon or rate.excess) and bool(rate.fast) is bool(rate.base):
            return self
        return replace(self, waiting=0, due_soon=0, oldest=0.0, rate=replace(rate, fast=rate.base, excess=0.0))

    @property
    def frees_after(self) -> float:
        """Seconds after which a busy slot is free, on average: what has run for long does not end sooner than most."""
        return max(self.job.mean, self.busy_seconds)

    @property
    def remaining(self) -> float:
        """Seconds until the oldest job misses the goal; a constant here would let the plan slide forever."""
        return max(self.goal - self.oldest, LEAST_SHARE * self.goal)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The fleet as the terms see it: pods that are Ready, pods that start, slots of a pod, seconds that a start takes."""

    ready: int
    starting: int
    slots: int
    pod_start: float

    @property
    def accepting(self) -> int:
        """Pods that take jobs now or soon."""
        return self.ready + self.starting


@dataclass(frozen=True, slots=True)
class Terms:
    """Pods that each term asks for.

    Attributes:
        steady, backlog, hold, long_jobs: the terms.
        out: the most of them.
        known: the same without what bursts are yet expected to bring.
        down: what scale-in must leave.
    """

    steady: int
    backlog: int
    hold: int
    long_jobs: int
    out: int
    known: int
    down: int

    def named(self) -> dict[str, int]:
        """Term → pods, as the status shows them."""
        return {"steady": self.steady, "backlog": self.backlog, "hold": self.hold, "longJobs": self.long_jobs}


@dataclass(frozen=True, slots=True)
class _Need:
    """Slots of one queue by term; ``offered`` is the load that no safety is added to."""

    load: Load
    offered: float
    steady: float
    hold: float
    long_jobs: float


def compute(loads: Sequence[Load], capacity: Capacity, most_pods: int) -> Terms:
    """All terms for a fleet that works ``loads`` with at most ``most_pods`` pods."""
    most = most_pods * capacity.slots
    needs = [_need(load, capacity, most) for load in loads]
    steady = _pods([n.steady for n in needs], _pooled(needs, "steady"), needs, capacity.slots)
    hold = _pods([n.hold for n in needs], _pooled(needs, "hold"), needs, capacity.slots)
    long_jobs = _pods([n.long_jobs for n in needs], sum(n.long_jobs for n in needs), needs, capacity.slots)
    together = _pods([max(n.steady, n.long_jobs) for n in needs], _pooled(needs, "long"), needs, capacity.slots)
    held = _pods([max(n.steady, n.long_jobs, n.hold) for n in needs], _pooled(needs, "all"), needs, capacity.slots)
    keep = min(capacity.accepting, held)
    backlog = _backlog(loads, capacity)
    come = [replace(load, rate=replace(load.rate, excess=0.0)) if load.rate.excess else load for load in loads]
    known = _backlog(come, capacity) if backlog else 0
    least = 1 if any(load.waiting or load.busy or load.leaving or load.due_soon for load in loads) else 0
    asked = max(math.ceil(together - 1e-9), math.ceil(keep - 1e-9), least)
    down = max(math.ceil(together * SPARE - 1e-9), math.ceil(keep - 1e-9), backlog, least)
    return Terms(
        steady=math.ceil(steady - 1e-9),
        backlog=backlog,
        hold=min(capacity.accepting, math.ceil(hold - 1e-9)),
        long_jobs=math.ceil(long_jobs - 1e-9),
        out=max(asked, backlog),
        known=max(asked, known),
        down=down,
    )


def slots_of_rate(starts: float, seconds: float) -> float:
    """The slots that so many starts in a second can use, of jobs that take so long on average.

    Their root on top, so that chance does not leave starts unused: what a period does not use is lost.
    """
    offered = starts * seconds
    return max(1.0, math.ceil(offered + math.sqrt(offered) - 1e-9))


def arrivals(load: Load, pod_start: float) -> float:
    """Jobs/s to be ready for: a burst counts the more the longer it lasts, known jobs by when they become due."""
    rate = load.rate
    known = load.due_soon / (load.goal + pod_start)
    return rate.base + rate.excess * min(1.0, rate.age / max(pod_start, load.goal / 2)) + known


def _need(load: Load, capacity: Capacity, most: int) -> _Need:
    seconds, limit = load.job.mean, min(load.limit, most)
    # Where a pod comes in time for the next job, none is kept for it: the scale-in window does that.
    idle = load.quiet and capacity.pod_start <= load.goal / 2
    offered = 0.0 if idle else min(arrivals(load, capacity.pod_start) * seconds, limit)
    # Where a pod comes in time, a job that is longer than its goal waits for one, not for a slot that others leave.
    stay = min(seconds, load.goal) if capacity.pod_start <= load.goal / 2 else seconds
    patience = load.goal / stay * 2 / (1 + load.job.variation)
    steady = min(slots_for(offered, patience, most), limit)
    hold = 0.0
    if load.waiting:
        hold = min((load.waiting + load.rate.base * load.remaining) * seconds / load.remaining, limit)
    long_jobs = min(float(load.busy + load.leaving + load.waiting), limit) if seconds > load.goal else 0.0
    return _Need(load, offered, steady, hold, long_jobs)


def _pooled(needs: Sequence[_Need], what: str) -> float:
    """Slots of all queues together.

    The safety that each queue adds to its offered load is for its own chance; together these add as deviations do, by squares.
    """
    total, squares = 0.0, 0.0
    for need in needs:
        if what == "hold":
            total += need.hold
            continue
        sure = need.offered
        if what in ("long", "all"):
            sure = max(sure, need.long_jobs)
        if what == "all":
            sure = max(sure, need.hold)
        total += sure
        squares += max(0.0, need.steady - sure) ** 2
    return total + math.sqrt(squares)


def _pods(each: Sequence[float], together: float, needs: Sequence[_Need], slots: int) -> float:
    """Pods for these slots: all of them together, and each queue within the slots that a pod gives to it."""
    return max([together / slots, *(n / need.load.slots_per_pod for n, need in zip(each, needs, strict=True))], default=0.0)


# --- the backlog: what must start before its deadline ---


@dataclass(frozen=True, slots=True)
class _Work:
    """Jobs that must have started ``deadline`` seconds from now; ``ahead``: a pod asked for now is there before them."""

    load: Load
    deadline: float
    jobs: float
    ahead: bool = False


def _backlog(loads: Sequence[Load], capacity: Capacity) -> int:
    """Pods so that everything that waits or is known to come starts in time: earliest deadline first, and each queue alone."""
    work = [item for load in loads for item in _works(load)]
    if not any(load.waiting or load.due_soon for load in loads):
        return 0
    missing = 0.0
    for last in work:
        # Of each queue the work that is due by then and asks for most: it counts what is due before it.
        due = [max(found, key=lambda item: item.jobs) for load in loads if (found := _until(work, load, last))]
        busy = [(load.busy, load.frees_after) for load in loads]
        missing = max(missing, _missing(due, busy, last, capacity, capacity.slots))
        for item in due:
            if item.load.slots_per_pod < capacity.slots:
                alone = [(item.load.busy, item.load.frees_after)]
                missing = max(missing, _missing([item], alone, last, capacity, item.load.slots_per_pod))
    return capacity.accepting + math.ceil(missing - 1e-9) if missing > 0 else 0


def _works(load: Load) -> list[_Work]:
    """What waits, what a burst will have brought when it has lasted as long again as it has, and what is known to come.

    A job that comes later has its own goal before it: the steady stream needs the slots of its term and no more.
    """
    rate = load.rate
    works = [_Work(load, load.remaining, load.waiting)]
    if rate.excess:
        brought = load.waiting + (rate.base + rate.excess) * rate.age
        works.append(_Work(load, load.goal + rate.age, brought))
    if load.due_soon:
        works.append(_Work(load, load.goal, load.waiting + load.due_soon, ahead=True))
    return works


def _until(work: Sequence[_Work], load: Load, last: _Work) -> list[_Work]:
    return [item for item in work if item.load is load and item.deadline <= last.deadline and item.ahead <= last.ahead]


def _missing(
    due: Sequence[_Work],
    busy: Sequence[tuple[int, float]],
    last: _Work,
    capacity: Capacity,
    slots: int,
) -> float:
    """Pods to add so that ``due`` starts by the deadline of its ``last`` on ``slots`` of each pod.

    Counted in free slots: one that is free now starts ``1 + deadline/seconds`` jobs in time, one that is busy one less, one
    of a pod that starts only what is left when it is Ready.
    """
    deadline = last.deadline
    late = deadline if last.ahead else min(deadline, max(deadline - capacity.pod_start, LEAST_SHARE * last.load.goal))
    need = sum(_slots(item, deadline) for item in due)
    if need <= 0:
        return 0.0
    fresh = need / sum(_slots(item, late) for item in due)
    used = sum(count for count, _ in busy)
    have = sum(count * deadline / (deadline + mean) for count, mean in busy)
    have += max(0, capacity.ready * slots - used) + capacity.starting * slots * fresh
    # More pods than hold all that these queues may run at a time start nothing sooner.
    most = sum(item.load.limit for item in due) / slots - capacity.accepting
    return max(0.0, min((need - have) / (fresh * slots), most))


def _slots(item: _Work, seconds: float) -> float:
    """Free slots that start the work within so many seconds."""
    return min(item.jobs / (1 + seconds / item.load.job.mean), item.load.limit)
