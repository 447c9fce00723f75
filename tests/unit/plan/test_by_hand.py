"""Replicas set by hand replace the rule for a while, and their end is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rivermill_operator.model.observed import PAUSED, Observed, StoreView, Unknown
from rivermill_operator.model.spec import JobQueue, Mode
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.plan.memory import Manual, ScalingMemory
from tests.unit.plan.build import deployment, depth, job_queue

IDLE = StoreView((depth(), depth("high")))


def queue(*, by_scale: bool = False, mode: Mode = Mode.SCALE, seconds: float = 100) -> JobQueue:
    found = job_queue(manualReplicas=4, manualSeconds=seconds)
    return replace(found, by_scale=by_scale, spec=replace(found.spec, mode=mode))


def look(now: float, wanted: JobQueue, memory: Memory, store: StoreView | Unknown = IDLE) -> Plan:
    return plan(Observed(now, store, (deployment(0),)), wanted, memory)


def told(done: Plan) -> list[str]:
    return [event.message for event in done.events if event.reason == "ManualReplicasOver"]


@pytest.mark.parametrize(
    ("by_scale", "mode", "cleared", "way"),
    [
        (True, Mode.SCALE, True, "and is removed: `kubectl scale` sets replicas again."),
        (False, Mode.SCALE, False, ": remove it, and set it again where its time shall begin anew."),
        (True, Mode.OBSERVE, False, ": remove it, and set it again where its time shall begin anew."),
    ],
)
def test_their_end_is_told_once_and_what_kubectl_scale_set_is_removed(
    mode: Mode, way: str, *, by_scale: bool, cleared: bool
) -> None:
    wanted = queue(by_scale=by_scale, mode=mode)
    first = look(0.0, wanted, Memory())
    before = look(99.0, wanted, first.memory)
    over = look(100.0, wanted, before.memory)
    after = look(102.0, wanted, over.memory)
    assert [done.clear_manual for done in (first, before, over, after)] == [False, False, cleared, cleared]
    assert [told(done) for done in (first, before, after)] == [[], [], []]
    (message,) = told(over)
    assert message.startswith("The rule decides again: manualReplicas 4 ran out after 100 s")
    assert message.endswith(way)


def test_a_condition_says_that_a_number_in_the_spec_counts_no_more() -> None:
    memory, messages = Memory(), []
    for now in (0.0, 100.0):
        done = look(now, queue(), memory)
        memory = done.memory
        messages += [c.message for c in done.conditions if c.type == "ScalingActive"]
    assert messages[0] == (
        "The spec sets the replicas by manualReplicas 4, and the queues do not; the rule returns at 00:01:40 UTC."
    )
    assert messages[1].startswith("Replicas follow the queues; manualReplicas 4 ran out after 100 s: remove it")


def test_their_end_is_not_told_again_after_a_restart() -> None:
    over = Memory(scaling=ScalingMemory(manual=Manual(4, 0.0, over=True)))
    assert told(look(200.0, queue(), over)) == []


def test_more_time_lets_them_count_again() -> None:
    over = look(150.0, queue(), look(0.0, queue(), Memory()).memory)
    assert over.decision.desired_replicas == 0
    assert look(151.0, queue(seconds=200), over.memory).decision.desired_replicas == 4


def test_beside_another_writer_nothing_is_removed_and_no_end_is_told() -> None:
    """It may be what sets the number: removed, the number would only be written again."""
    wanted, memory = queue(by_scale=True), Memory()
    for now in (0.0, 100.0, 102.0):
        done = plan(Observed(now, IDLE, (deployment(0),), conflict="HorizontalPodAutoscaler h sets it."), wanted, memory)
        memory = done.memory
        assert (told(done), done.clear_manual) == ([], False)


def test_a_paused_queue_is_told_nothing() -> None:
    wanted = queue(by_scale=True, mode=Mode.PAUSED)
    paused = look(150.0, wanted, look(0.0, wanted, Memory(), PAUSED).memory, PAUSED)
    assert (told(paused), paused.clear_manual) == ([], False)
