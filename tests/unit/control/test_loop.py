"""When a status is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from rivermill_operator.control.loop import Loop, Ports
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.wake import Wakes
from rivermill_operator.kube.port import Kube
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import Observed, ServerView, StoreView
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan import Memory
from rivermill_operator.plan.replay import Inputs
from rivermill_operator.store.port import StoreProvider
from tests.unit.plan.build import body, depth, job_queue


@dataclass
class Statuses:
    """Takes them."""

    written: list[Mapping[str, Any]] = field(default_factory=list)

    async def write_status(self, job_queue: JobQueue, status: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        self.written.append(status)


async def test_a_number_that_moves_in_a_conditions_words_does_not_make_it_another() -> None:
    """Else a fleet that the server's connections limit would write its status at every look."""
    kube, value = Statuses(), body()
    loop = Loop(("n", "q"), lambda: value, Ports(cast(Kube, kube), cast(StoreProvider, None), Wakes(), Metrics(), Turns()))
    full = Observed(0.0, StoreView((depth(waiting=10**6),), server=ServerView(0, 100, 89)))
    for used in (89, 90, 91):
        seen = replace(full, store=StoreView((depth(waiting=10**6),), server=ServerView(0, 100, used)))
        inputs = Inputs(seen, job_queue(), Memory())
        await loop._report(inputs, inputs.decide())
    messages = [c["message"] for status in kube.written for c in status["conditions"] if c["type"] == "ScalingLimited"]
    assert messages == ["Limited by maxReplicas 20, the server's 100 connections, 89 in use by others."]
    inputs = Inputs(replace(full, conflict="HPA x."), job_queue(), Memory())
    await loop._report(inputs, inputs.decide())
    assert len(kube.written) == 2
