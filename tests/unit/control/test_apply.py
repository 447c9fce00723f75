"""What one JobQueue waits for is its own, and what could not be written is written later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rivermill_operator.control import apply as module
from rivermill_operator.control import retries as retries_module
from rivermill_operator.control.retries import Problem, Retries
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.views import deployment_view
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.model.observed import Observed, StoreView, Verdict
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.plan.plan import Event, SetProtection, SetReplicas, SetVerdict
from rivermill_operator.store.port import Store
from tests.unit.plan.build import body, depth, job_queue

START, NOW = "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(Decision(1), (), Memory(), cordon=("c1",), scales=(SetReplicas("q-1", 1, "7"),))


@dataclass
class Scales:
    """Takes replicas, or refuses them."""

    error: KubeError | None = None
    events_error: KubeError | None = None
    written: list[str] = field(default_factory=list)

    async def set_verdict(
        self, namespace: str, name: str, verdict: Verdict, trial: tuple[int, int] | None, resource_version: str
    ) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(f"{name} {verdict}")

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(f"{name}={replicas}")

    async def set_protection(self, namespace: str, pod: str, protected: bool, resource_version: str) -> None:
        self.written.append(f"{pod} protected")

    async def clear_manual(self, job_queue: JobQueue) -> None:
        self.written.append("manualReplicas")

    async def emit_event(self, job_queue: JobQueue, kind: str, reason: str, message: str) -> None:
        if self.events_error is not None:
            raise self.events_error
        self.written.append(reason)


@dataclass
class SlowDatabase:
    """Answers when it is told to."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        self.asked.set()
        await self.answer.wait()


async def apply(
    wanted: Plan, queue: JobQueue, kube: Kube, store: Store | None, turns: Turns, retries: Retries | None = None
) -> list[Problem]:
    return await module.apply(wanted, queue, kube, store, turns, retries or Retries())


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries_module, "back_off", lambda *_: 3600.0)


async def write(kube: Scales, store: SlowDatabase | None, turns: Turns) -> list[Problem]:
    return await apply(PLAN, job_queue(), cast(Kube, kube), cast(Store | None, store), turns)


async def test_a_slow_database_delays_only_its_own_job_queues() -> None:
    turns, kube, database = Turns(1, 1), Scales(), SlowDatabase()
    slow = asyncio.create_task(write(kube, database, turns))
    await database.asked.wait()
    assert await write(kube, None, turns) == []
    assert kube.written == ["q-1=1"]
    database.answer.set()
    await slow
    assert kube.written == ["q-1=1", "q-1=1"]


async def test_what_is_written_to_the_job_queue_itself_comes_last() -> None:
    kube, done = Scales(), replace(PLAN, clear_manual=True, events=(Event("Normal", "ManualReplicasOver", "m"),))
    assert await apply(done, job_queue(), cast(Kube, kube), None, Turns()) == []
    assert kube.written == ["q-1=1", "manualReplicas", "ManualReplicasOver"]


async def test_a_write_waits_for_its_turn() -> None:
    turns, kube = Turns(1, 0), Scales()
    waiting = asyncio.create_task(write(kube, None, turns))
    for _ in range(10):
        await asyncio.sleep(0)
    assert kube.written == []
    turns.fleet.free.release()
    assert await waiting == []


async def test_what_only_tells_of_a_fleet_waits_for_turns_of_its_own() -> None:
    turns, kube = Turns(1, 1, 0), Scales()
    told = replace(PLAN, events=(Event("Normal", "Scaling", "1 pod"),))
    waiting = asyncio.create_task(apply(told, job_queue(), cast(Kube, kube), None, turns))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not turns.fleet.free.locked()
    assert kube.written == ["q-1=1"]
    turns.report.free.release()
    assert await waiting == []
    assert kube.written == ["q-1=1", "Scaling"]


async def test_pods_that_jobs_wait_for_come_before_anything_said_of_others() -> None:
    """A fleet whose pods all got jobs at once has one annotation to write for each of them."""
    turns, kube, database = Turns(1, 0), Scales(), SlowDatabase()
    protections = tuple(SetProtection(f"pod-{number}", True, "1") for number in range(2))
    busy = replace(PLAN, protections=protections, scales=(SetReplicas("q-1", 4, "7", grows=True),))
    waiting = asyncio.create_task(apply(busy, job_queue(), cast(Kube, kube), cast(Store, database), turns))
    await database.asked.wait()
    assert kube.written == ["q-1=4"]
    database.answer.set()
    turns.fleet.free.release()
    assert await waiting == []
    assert kube.written == ["q-1=4", "pod-0 protected", "pod-1 protected"]


@pytest.mark.parametrize(("error", "told"), [(None, ["q-1 accepted", "VersionAccepted"]), (KubeError(409, "changed"), [])])
async def test_a_verdict_is_told_when_it_is_written(error: KubeError | None, told: list[str]) -> None:
    mark = SetVerdict("q-1", Verdict.ACCEPTED, "7", event=Event("Normal", "VersionAccepted", "It works."))
    kube = Scales(error)
    assert await apply(replace(PLAN, scales=(), verdicts=(mark,)), job_queue(), cast(Kube, kube), None, Turns(1, 1)) == []
    assert kube.written == told


async def test_what_changed_meanwhile_is_no_problem_and_a_refusal_is() -> None:
    turns = Turns(1, 1)
    assert await write(Scales(KubeError(409, "changed")), None, turns) == []
    (away,) = await write(Scales(KubeError(0, "away")), None, turns)
    (refused,) = await write(Scales(KubeError(422, "invalid")), None, turns)
    assert (away.refused, refused.refused) == (False, True)
    assert refused.text == "scale q-1 to 1: 422 invalid"


async def test_an_event_that_is_refused_is_a_problem_and_no_refusal() -> None:
    """As the refusal of a write it would be told by an Event, which is refused, and so on."""
    kube = Scales(events_error=KubeError(403, "forbidden"))
    done = replace(PLAN, events=(Event("Normal", "Scaling", "1 pod"),))
    (problem,) = await apply(done, job_queue(), cast(Kube, kube), None, Turns())
    assert (problem.text, problem.refused) == ("record Event Scaling: 403 forbidden", False)
    assert kube.written == ["q-1=1"]


@dataclass
class Versions:
    """Takes Deployments and budgets where nothing goes wrong with them."""

    error: KubeError | None = None
    refusal: KubeError | None = None
    unmade: KubeError | None = None
    deployments: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        self.asked.append("scale")

    async def apply_budget(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        self.asked.append("budget")
        if self.error is not None:
            raise self.error

    async def make_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        self.asked.append("make")
        if self.unmade is not None:
            raise self.unmade

    async def apply_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        self.asked.append("deployment")
        if self.refusal is not None:
            raise self.refusal
        self.deployments.append(manifest)


@pytest.mark.parametrize("whose", ["unmade", "refusal"])
async def test_a_template_that_is_refused_is_told_by_the_fields_of_the_job_queue(whose: str) -> None:
    value = body()
    value["spec"]["worker"]["template"] = {"spec": {"containers": [{"name": "worker", "env": [{"name": "A B"}]}]}}
    queue = parse_job_queue(value)
    kube = Versions(**{whose: KubeError(422, "PATCH: spec.template.spec.containers[0].env[13].name: Invalid value")})
    wanted = plan(Observed(0.0, StoreView((depth(),))), queue, Memory())
    (problem,) = await apply(wanted, queue, cast(Kube, kube), None, Turns(1, 1))
    assert problem.refused
    assert problem.text.endswith("422 PATCH: spec.worker.template.spec.containers[0].env[0].name: Invalid value")


async def test_a_version_that_is_refused_leaves_no_budget() -> None:
    """Without its Deployment nobody would ever remove that."""
    queue, kube = job_queue(), Versions(unmade=KubeError(422, "invalid"))
    (problem,) = await apply(
        plan(Observed(0.0, StoreView((depth(),))), queue, Memory()), queue, cast(Kube, kube), None, Turns()
    )
    assert (problem.refused, kube.asked) == (True, ["make"])


async def test_pods_of_a_version_that_is_there_have_their_budget_before_they_are_changed() -> None:
    queue, kube = job_queue(), Versions()
    assert (
        await apply(plan(Observed(0.0, StoreView((depth(),))), queue, Memory()), queue, cast(Kube, kube), None, Turns()) == []
    )
    assert kube.asked == ["make", "budget", "deployment"]


@pytest.mark.parametrize("error", [None, KubeError(0, "away"), KubeError(409, "changed"), KubeError(403, "forbidden")])
async def test_a_budget_that_could_not_be_written_is_applied_again(error: KubeError | None) -> None:
    """What has been applied is told by an annotation of the Deployment: it must not be there while the budget is not."""
    queue = job_queue()
    wanted = plan(Observed(0.0, StoreView((depth(),))), queue, Memory())
    kube = Versions(error)
    await apply(wanted, queue, cast(Kube, kube), None, Turns(1, 1))
    (made,) = kube.deployments
    view = deployment_view({**made, "metadata": {**made["metadata"], "resourceVersion": "1", "creationTimestamp": START}}, NOW)
    again = plan(Observed(1.0, StoreView((depth(),)), (view,)), queue, wanted.memory)
    assert bool(again.apply) is (error is not None)


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("status", [422, 429, 500, 0])
@pytest.mark.parametrize("whose", ["unmade", "error", "refusal"])
async def test_what_could_not_be_written_is_left_alone_for_a_while_and_all_else_goes_on(whose: str, status: int) -> None:
    """Jobs bring many looks a second, and each wants the same version once more."""
    queue = job_queue()
    kube, retries = Versions(**{whose: KubeError(status, "no")}), Retries()
    wanted = plan(Observed(0.0, StoreView((depth(),))), queue, Memory())
    wanted = replace(wanted, scales=(SetReplicas("q-0", 4, "7", grows=True),))
    (first,) = await apply(wanted, queue, cast(Kube, kube), None, Turns(), retries)
    for _ in range(10):
        problems = await apply(wanted, queue, cast(Kube, kube), None, Turns(), retries)
        assert problems == [replace(first, kept=True)]
    assert [kube.asked.count(what) for what in ("make", "scale")] == [1, 11]
    assert max(kube.asked.count("budget"), kube.asked.count("deployment")) <= 1
    # Another spec, to which the plan now belongs, may be what was waited for.
    await apply(wanted, replace(queue, generation=2), cast(Kube, kube), None, Turns(), retries)
    assert [kube.asked.count(what) for what in ("make", "scale")] == [2, 12]


@pytest.mark.usefixtures("long_pauses")
async def test_a_scale_out_that_fails_is_one_write_whatever_the_number_and_keeps_nobody_from_scaling_in() -> None:
    """The number moves as long as jobs come."""
    kube, retries = Scales(KubeError(429, "slowly")), Retries()
    out = [replace(PLAN, scales=(SetReplicas("q-1", number, "7", grows=True),)) for number in (3, 4)]
    (failed,) = await apply(out[0], job_queue(), cast(Kube, kube), None, Turns(), retries)
    kube.error = None
    assert await apply(out[1], job_queue(), cast(Kube, kube), None, Turns(), retries) == [replace(failed, kept=True)]
    assert kube.written == []
    fewer = replace(PLAN, scales=(SetReplicas("q-1", 0, "7"),))
    assert await apply(fewer, job_queue(), cast(Kube, kube), None, Turns(), retries) == []
    assert kube.written == ["q-1=0"]
