"""Replicas set by hand, and for how long they replace the rule."""

from __future__ import annotations

from dataclasses import replace

from rivermill_operator.model.spec import JobQueueSpec
from rivermill_operator.plan.memory import Manual, ScalingMemory


def see(spec: JobQueueSpec, memory: ScalingMemory, now: float) -> ScalingMemory:
    """Remember since when the number that the spec holds has been there."""
    wanted = spec.scaling.manual_replicas
    if wanted is None:
        return replace(memory, manual=None)
    if memory.manual is None or memory.manual.replicas != wanted:
        return replace(memory, manual=Manual(wanted, now))
    return memory


def replicas(spec: JobQueueSpec, memory: ScalingMemory, now: float) -> int | None:
    """The number, None when there is none or its time is over."""
    if memory.manual is None or now - memory.manual.since >= spec.scaling.manual_seconds:
        return None
    return memory.manual.replicas
