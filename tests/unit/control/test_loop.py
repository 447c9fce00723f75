"""When a loop looks, and when a status is written."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from rivermill_operator.control import loop as module
from rivermill_operator.control import pace, retries
from rivermill_operator.control.loop import Loop, Ports
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.wake import Wakes
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import ClientView, Observed, ServerView, StoreView
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan import Memory
from rivermill_operator.plan.manifests import build
from rivermill_operator.plan.replay import Inputs
from rivermill_operator.store.port import StoreProvider
from tests.unit.plan.build import body, client, deployment, depth, job_queue, pod


@dataclass
class Statuses:
    """Takes them."""

    written: list[Mapping[str, Any]] = field(default_factory=list)
    error: KubeError | None = None
    asked: int = 0

    async def write_status(self, job_queue: JobQueue, status: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.written.append(status)


def loop_of(kube: Statuses) -> Loop:
    value, store = body(), cast(StoreProvider, None)
    return Loop(("n", "q"), lambda: value, Ports(cast(Kube, kube), store, Wakes(), Metrics(), Turns()))


@dataclass
class Doubting:
    """An observer whose database cannot be read until its Secret has been asked for so often."""

    times: int
    doubted: float | None = 0.01
    asked: int = 0

    async def renewed(self, job_queue: JobQueue) -> bool:
        self.asked += 1
        return self.asked == self.times


async def test_a_mended_secret_ends_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, observer = loop_of(Statuses()), Doubting(3)
    monkeypatch.setattr(loop, "_observer", observer)
    async with asyncio.timeout(10):
        await loop._pause(60.0)
    assert observer.asked == 3


async def test_who_is_not_in_doubt_asks_for_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, observer = loop_of(Statuses()), Doubting(1, doubted=None)
    monkeypatch.setattr(loop, "_observer", observer)
    await loop._pause(0.1)
    assert observer.asked == 0


async def test_who_owns_a_number_is_seen_although_the_spec_is_the_same() -> None:
    """A manifest that is applied with the number that ``kubectl scale`` set changes no generation."""
    value = body(manualReplicas=4)
    ports = Ports(cast(Kube, Statuses()), cast(StoreProvider, None), Wakes(), Metrics(), Turns())
    loop, owned = Loop(("n", "q"), lambda: value, ports), {"f:spec": {"f:scaling": {"f:manualReplicas": {}}}}
    found = []
    for manifest in ({}, owned):
        value["metadata"]["managedFields"] = [{"fieldsV1": manifest}, {"subresource": "scale", "fieldsV1": owned}]
        found.append(loop._job_queue().by_scale)
    assert found == [True, False]


async def test_a_number_that_moves_in_a_conditions_words_does_not_make_it_another() -> None:
    """Else a fleet that the server's connections limit would write its status at every look."""
    kube = Statuses()
    loop = loop_of(kube)
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


async def test_terms_that_take_turns_at_the_same_number_make_no_status_each(caplog: pytest.LogCaptureFixture) -> None:
    """Spare slots and the jobs that run ask for the same pods now and again, many times a minute."""
    caplog.set_level("INFO", "rivermill.control")
    kube = Statuses()
    loop = loop_of(kube)
    inputs = Inputs(Observed(0.0, StoreView((depth(),)), (deployment(1),), (pod(0),)), job_queue(minReplicas=1), Memory())
    decided = inputs.decide()
    for won in ("idleSlots", "steady") * 10:
        told = replace(decided, decision=replace(decided.decision, won=won))
        loop._tell(inputs, told)
        await loop._report(inputs, told)
    assert [status["decision"]["won"] for status in kube.written] == ["idleSlots"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("step", "ready"), [(0.0, [0, 1, 2, 3]), (60.0, [0])])
async def test_ready_pods_are_told_at_once_by_few_statuses(
    monkeypatch: pytest.MonkeyPatch, step: float, ready: list[int]
) -> None:
    """What is not told at once is asked for again as soon as it may be."""
    monkeypatch.setattr(pace, "STEP_SECONDS", step)
    kube, waits = Statuses(), []
    loop = loop_of(kube)
    for count in range(8):
        pods = tuple(pod(number, ready=number < count) for number in range(8))
        inputs = Inputs(Observed(0.0, StoreView((depth(),)), (deployment(8),), pods), job_queue(minReplicas=8), Memory())
        waits.append(await loop._report(inputs, inputs.decide()))
    assert [status["readyReplicas"] for status in kube.written] == ready
    # Why Ready is True is told with them, and costs no status of its own.
    reasons = [condition["reason"] for status in kube.written for condition in status["conditions"][:1]]
    assert reasons == ["PodsStarting"] * len(ready)
    assert [wait == math.inf for wait in waits] == [count < len(ready) for count in range(8)]
    assert await loop._report(inputs, inputs.decide()) == pytest.approx(max(step, 15.0), abs=1.0)


async def test_the_last_pod_that_becomes_ready_makes_one_status_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_SECONDS", 0.0)
    kube = Statuses()
    loop = loop_of(kube)
    for ready in (0, 2, 2, 1, 2):
        pods = tuple(pod(number, ready=number < ready) for number in range(2))
        inputs = Inputs(Observed(0.0, StoreView((depth(),)), (deployment(2),), pods), job_queue(minReplicas=2), Memory())
        await loop._report(inputs, inputs.decide())
    told = [(status["readyReplicas"], status["conditions"][0]["reason"]) for status in kube.written]
    assert told == [(0, "PodsStarting"), (2, "AsDesired"), (1, "PodsStarting"), (2, "AsDesired")]
    assert {status["conditions"][0]["status"] for status in kube.written} == {"True"}


WORKS = client(1, running=2)
DRAINS = client(2, wanted_state="cordoned", running=1)


@pytest.mark.parametrize(
    ("looks", "busy", "draining"),
    [
        # Work ended: once, whatever comes and ends until the next status.
        ([((3, 2), (WORKS,)), ((2, 2), (WORKS,)), ((0, 0), ()), ((0, 1), (WORKS,)), ((0, 0), ())], [2, 0], [0, 0]),
        # Pods begin to drain, and the last has drained.
        (
            [((1, 1), (WORKS,)), ((1, 2), (WORKS, DRAINS)), ((1, 2), (WORKS, DRAINS)), ((1, 1), (WORKS,))],
            [2, 3, 2],
            [0, 1, 0],
        ),
    ],
)
async def test_the_end_of_work_and_of_a_drain_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
    looks: list[tuple[tuple[int, int], tuple[ClientView, ...]]],
    busy: list[int],
    draining: list[int],
) -> None:
    """The figures of a queue that was empty by then stood for 20 s, when people look at them."""
    monkeypatch.setattr(pace, "STEP_SECONDS", 0.0)
    kube = Statuses()
    loop = loop_of(kube)
    for (waiting, running), clients in looks:
        store = StoreView((depth(waiting=waiting, running=running),), clients)
        inputs = Inputs(Observed(0.0, store, (deployment(2),), (pod(1), pod(2))), job_queue(minReplicas=2), Memory(desired=2))
        decided = inputs.decide()
        # The number of replicas that is decided is told whatever else happens.
        told = replace(decided, decision=replace(decided.decision, desired_replicas=2, bounds=()))
        await loop._report(inputs, replace(told, conditions=()))
    assert [status["busySlots"] for status in kube.written] == busy
    assert [status["drainingReplicas"] for status in kube.written] == draining


async def test_the_pods_that_a_deletion_waits_for_are_told_as_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "STEP_SECONDS", 0.0)
    kube = Statuses()
    loop = loop_of(kube)
    for left in (3, 2, 2, 1):
        pods = tuple(pod(number, deleting=True) for number in range(left))
        queue = replace(job_queue(), deleting=True)
        inputs = Inputs(Observed(0.0, StoreView((depth(),)), (deployment(0),), pods), queue, Memory())
        await loop._report(inputs, inputs.decide())
    words = [status["decision"]["sentence"].partition(": ")[2] for status in kube.written]
    assert words == [f"{pods} left, with 0 jobs running." for pods in ("3 pods are", "2 pods are", "1 pod is")]


async def test_a_decision_is_logged_when_it_is_taken_and_once(caplog: pytest.LogCaptureFixture) -> None:
    """Before it is carried out: that may take long, or fail."""
    caplog.set_level("INFO", "rivermill.control")
    kube = Statuses()
    loop = loop_of(kube)
    for waiting in (0, 0, 10**6, 10**6):
        inputs = Inputs(Observed(0.0, StoreView((depth(waiting=waiting),))), job_queue(), Memory())
        loop._tell(inputs, inputs.decide())
    assert [record.__dict__["decision"]["desired_replicas"] for record in caplog.records] == [0, 20]
    assert kube.written == []


async def test_a_decision_that_says_the_same_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    """Another generation, or a condition that has turned, made a line that repeated the one before."""
    caplog.set_level("INFO", "rivermill.control")
    loop = loop_of(Statuses())
    inputs = Inputs(Observed(0.0, StoreView((depth(),))), job_queue(), Memory())
    for generation, unlooked in ((1, None), (2, None), (2, "Nobody could look."), (2, None)):
        seen = replace(inputs.observed, unlooked=unlooked)
        again = replace(inputs, observed=seen, job_queue=replace(inputs.job_queue, generation=generation))
        loop._tell(again, again.decide())
    assert [record.getMessage() for record in caplog.records] == ["decision"]


@dataclass
class Looks:
    """An observer that sees the same each time a second later, or fails."""

    seen: Observed | None = None
    at: list[float] = field(default_factory=list)
    doubted: float | None = None
    refused: str | None = None
    store: None = None

    async def observe(self, job_queue: JobQueue, memory: Memory) -> Observed:
        self.at.append(asyncio.get_running_loop().time())
        if self.seen is None:
            raise RuntimeError("a mistake")
        return replace(self.seen, now=float(len(self.at)), refused=self.refused)


async def look_on(wakes: Wakes, looks: Looks, count: int) -> None:
    """Wake the loop all the time until there were so many looks."""
    async with asyncio.timeout(30):
        while len(looks.at) < count:
            wakes.wake(("n", "q"))
            await asyncio.sleep(0.005)


async def test_news_brings_no_look_before_the_pause_after_an_error_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy queue has news all the time: each look would end as the last one did, with a traceback in the log."""
    pause = 0.4  # longer than between two looks that are asked for
    monkeypatch.setattr(module, "back_off", lambda *_: pause)
    loop, looks = loop_of(Statuses()), Looks()
    monkeypatch.setattr(loop, "_observer", looks)
    running = asyncio.create_task(loop.run())
    await look_on(loop._ports.wakes, looks, 4)
    running.cancel()
    assert min(later - sooner for sooner, later in itertools.pairwise(looks.at)) >= pause


async def test_an_operator_that_leaves_waits_for_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "back_off", lambda *_: 3600.0)
    loop, looks = loop_of(Statuses()), Looks()
    monkeypatch.setattr(loop, "_observer", looks)
    running = asyncio.create_task(loop.run())
    await look_on(loop._ports.wakes, looks, 1)
    await asyncio.sleep(0)
    loop._ports.wakes.close()
    async with asyncio.timeout(30):
        await running


@dataclass
class Refusing(Statuses):
    """Takes replicas and statuses, and no version."""

    tried: int = 0
    scaled: list[int] = field(default_factory=list)

    async def make_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        self.tried += 1
        raise KubeError(422, "spec.template: invalid")

    async def set_replicas(self, namespace: str, name: str, replicas: int, resource_version: str) -> None:
        self.scaled.append(replicas)

    async def emit_event(self, job_queue: JobQueue, kind: str, reason: str, message: str) -> None:
        pass


async def test_while_a_template_is_refused_the_fleet_is_scaled_and_the_refusal_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "back_off", lambda *_: 3600.0)
    kube = Refusing()
    loop = loop_of(kube)
    looks = Looks(Observed(0.0, StoreView((depth(waiting=10**6),)), (deployment(1, "0ld"),), (pod(1, "0ld"),)))
    monkeypatch.setattr(loop, "_observer", looks)
    delays = [await loop._guarded_step() for _ in range(10)]
    assert kube.tried == 1
    assert kube.scaled == [20] * 9  # not at the first look, which did not know of the refusal yet
    assert all(delay is not None and delay <= 1.5 for delay in delays)
    conditions = {c["type"]: c["reason"] for c in kube.written[-1]["conditions"]}
    assert conditions["WorkersAvailable"] == "WriteRefused"
    assert len(kube.written) < 5


@dataclass
class Judging(Refusing):
    """Says of each template what its image is."""

    async def make_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        image = manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        if image != "right":
            raise KubeError(422, f"image {image} is wrong")

    async def apply_budget(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        pass

    async def apply_deployment(self, namespace: str, manifest: Mapping[str, Any]) -> None:
        pass


async def test_a_refusal_is_not_told_of_a_spec_that_was_mended_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of the spec before was written with the generation of the new one, and stood for seconds."""
    kube, value = Judging(), body()
    ports = Ports(cast(Kube, kube), cast(StoreProvider, None), Wakes(), Metrics(), Turns())
    loop = Loop(("n", "q"), lambda: value, ports)
    monkeypatch.setattr(loop, "_observer", Looks(Observed(0.0, StoreView((depth(),)))))
    for image in ("one", "two", "right"):
        value["metadata"]["generation"] += 1
        value["spec"]["worker"]["image"] = image
        for _ in range(2):
            await loop._guarded_step()
    told = []
    for status in kube.written:
        workers = next(c for c in status["conditions"] if c["type"] == "WorkersAvailable")
        told.append((status["observedGeneration"], workers["message"].rpartition(": ")[2]))
    assert told == [
        (2, "422 image one is wrong"),
        (3, "422 image two is wrong"),
        (4, "No worker pod is in trouble."),
    ]


async def test_a_status_that_is_refused_holds_up_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it asked for at each of them."""
    monkeypatch.setattr(retries, "back_off", lambda *_: 3600.0)
    kube = Statuses(error=KubeError(403, "forbidden"))
    loop = loop_of(kube)
    digest = build(job_queue()).digest
    looks = Looks(Observed(0.0, StoreView((depth(),)), (deployment(0, applied_hash=digest),)))
    monkeypatch.setattr(loop, "_observer", looks)
    for _ in range(5):
        await loop._guarded_step()
    assert (kube.asked, kube.written, loop._not_before) == (1, [], -math.inf)
