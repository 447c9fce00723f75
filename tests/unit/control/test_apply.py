"""What one JobQueue waits for is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from rivermill_operator.control.apply import Problem, apply
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, Plan
from rivermill_operator.plan.plan import SetReplicas
from rivermill_operator.store.port import Store
from tests.unit.plan.build import job_queue

PLAN = Plan(Decision(1), (), Memory(), cordon=("c1",), scales=(SetReplicas("q-1", 1, "7"),))


@dataclass
class Scales:
    """Takes replicas, or refuses them."""

    error: KubeError | None = None
    written: list[str] = field(default_factory=list)

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(f"{name}={replicas}")


@dataclass
class SlowDatabase:
    """Answers when it is told to."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        self.asked.set()
        await self.answer.wait()


async def write(kube: Scales, store: SlowDatabase | None, turns: asyncio.Semaphore) -> list[Problem]:
    return await apply(PLAN, job_queue(), cast(Kube, kube), cast(Store | None, store), turns)


async def test_a_slow_database_delays_only_its_own_job_queues() -> None:
    turns, kube, database = asyncio.Semaphore(1), Scales(), SlowDatabase()
    slow = asyncio.create_task(write(kube, database, turns))
    await database.asked.wait()
    assert await write(kube, None, turns) == []
    assert kube.written == ["q-1=1"]
    database.answer.set()
    await slow
    assert kube.written == ["q-1=1", "q-1=1"]


async def test_a_write_waits_for_its_turn() -> None:
    turns, kube = asyncio.Semaphore(0), Scales()
    waiting = asyncio.create_task(write(kube, None, turns))
    for _ in range(10):
        await asyncio.sleep(0)
    assert kube.written == []
    turns.release()
    assert await waiting == []


async def test_what_changed_meanwhile_is_no_problem_and_a_refusal_is() -> None:
    turns = asyncio.Semaphore(1)
    assert await write(Scales(KubeError(409, "changed")), None, turns) == []
    (away,) = await write(Scales(KubeError(0, "away")), None, turns)
    (refused,) = await write(Scales(KubeError(422, "invalid")), None, turns)
    assert (away.refused, refused.refused) == (False, True)
    assert refused.text == "scale q-1 to 1: 422 invalid"
