"""Replicas set by hand, and for how long they replace the rule."""

from __future__ import annotations

from dataclasses import replace

from rivermill_operator.model.spec import JobQueue, JobQueueSpec, Mode
from rivermill_operator.plan.memory import Manual, ScalingMemory
from rivermill_operator.plan.plan import Event


def see(spec: JobQueueSpec, memory: ScalingMemory, now: float) -> ScalingMemory:
    """Remember since when the number that the spec holds has been there, and whether its time is over."""
    wanted, known = spec.scaling.manual_replicas, memory.manual
    if wanted is None:
        return replace(memory, manual=None)
    manual = known if known is not None and known.replicas == wanted else Manual(wanted, now)
    manual = replace(manual, over=now - manual.since >= spec.scaling.manual_seconds)
    return replace(memory, manual=manual)


def replicas(memory: ScalingMemory) -> int | None:
    """The number as it was last seen, None when there is none or its time is over."""
    return None if memory.manual is None or memory.manual.over else memory.manual.replicas


def _over(memory: ScalingMemory) -> Manual | None:
    """The number whose time is over, if the spec holds one."""
    return memory.manual if memory.manual is not None and memory.manual.over else None


def ran_out(job_queue: JobQueue, memory: ScalingMemory) -> str | None:
    """That the time of a number is over and how it begins anew, as the end of a sentence; None where that is not so."""
    manual = _over(memory)
    if manual is None:
        return None
    over = f"manualReplicas {manual.replicas} ran out after {job_queue.spec.scaling.manual_seconds:g} s"
    if clears(job_queue, memory):
        return f"{over} and is removed: `kubectl scale` sets replicas again"
    return f"{over}: remove it, and set it again where its time shall begin anew"


def clears(job_queue: JobQueue, memory: ScalingMemory) -> bool:
    """Whether a number whose time is over is taken out of the spec, so that the same one can be set again.

    What a manifest says stays: whoever applies it would only write it again.
    """
    return _over(memory) is not None and job_queue.by_scale and job_queue.spec.mode is Mode.SCALE


def ended(job_queue: JobQueue, before: ScalingMemory, after: ScalingMemory) -> tuple[Event, ...]:
    """The Event at the look at which the rule returns."""
    text = ran_out(job_queue, after)
    if text is None or _over(before) is not None or job_queue.spec.mode is Mode.PAUSED:
        return ()
    return (Event("Normal", "ManualReplicasOver", f"The rule decides again: {text}."),)
