"""A decision in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from rivermill_operator.model.observed import Moment
from rivermill_operator.model.status import Bound, Decision
from rivermill_operator.plan.terms import Load

#: As the end of "2 pods wanted …".
_WHY = {
    "steady": "for the arrivals, so that few jobs wait longer than their goal",
    "backlog": "so that the jobs that wait or come soon start before their goal is over",
    "hold": "for the jobs that still wait",
    "longJobs": "so that each long job has a slot",
    "idleSlots": "to keep as many slots free as idleSlots says",
    "schedule": "for a schedule",
}
#: What a bound does to the number, by its reason; any other limits it.
_DOES = {"ManualReplicas": "set by", "MinReplicas": "raised by"}


def winner(terms: Mapping[str, int], replicas: int) -> str | None:
    """The term that asked for the most, None while none asks for anything."""
    best = max(terms, key=lambda term: terms[term], default=None)
    return best if best is not None and terms[best] > 0 and replicas > 0 else None


def sentence(decision: Decision, loads: Sequence[Load], wanted: int, draining: int) -> str:
    """The decision in one sentence; ``wanted`` pods before bounds, and ``draining`` ones, whose jobs are not counted."""
    waiting, running = sum(load.waiting for load in loads), sum(load.busy + load.leaving for load in loads)
    sure = sum(load.waiting if load.counted is None else load.counted for load in loads)
    why = _WHY.get(decision.won or "") if wanted else None
    # Pods that are wanted all the same are for what is to come.
    nothing = "nothing to do now" if why else "nothing to do"
    least = "at least " if any(load.counted is not None for load in loads) else ""
    jobs = f"{least}{count(sure, 'job')} waiting and {running} running" if waiting or running else nothing
    if waiting > sure:
        jobs += f" (about {waiting} wait, by what came and ended since more were counted)"
    text = f"{count(decision.desired_replicas or 0, 'pod')}: {jobs}"
    if draining:
        text += f"; {count(draining, 'pod')} drain{'s' if draining == 1 else ''}"
    if why:
        text += f"; {count(wanted, 'pod')} wanted {why}"
    if decision.bounds:
        text += f"; {limits(decision.bounds)}"
    if decision.pending:
        text += f"; {decision.pending}"
    return text + "."


def limits(bounds: Sequence[Bound]) -> str:
    """What bounds did to the number, as a part of a sentence."""
    parts, last = [], ""
    for bound in bounds:
        does = _DOES.get(bound.reason, "limited by")
        parts.append(bound.text if does == last else f"{does} {bound.text}")
        last = does
    return ", ".join(parts)


_DAY_SECONDS = 86400.0
#: A day so far ahead is told by no date.
_FAR_DAYS = 365.0


def when(now: Moment, seconds: float) -> str:
    """When so many seconds have passed: by the clock, which is right whenever it is read."""
    if seconds >= _FAR_DAYS * _DAY_SECONDS:
        return f"in {seconds / _DAY_SECONDS:.0f} days"
    at = now.utc + timedelta(seconds=max(0.0, seconds) + 0.5)
    return f"at {at:%H:%M:%S} UTC" if at.date() == now.utc.date() else f"at {at:%Y-%m-%d %H:%M:%S} UTC"


def count(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
