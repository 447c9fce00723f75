"""The warning that pods have less time to end than their jobs take."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rivermill_operator.model.observed import Finished, Observed, StoreView
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.estimate import update_queue
from rivermill_operator.plan.grace import high_seconds, short_grace
from rivermill_operator.plan.memory import QueueMemory, ScalingMemory
from tests.unit.plan.build import body, depth, job_queue


def queue(name: str, jobs: int, mean: float, square: float, longest: float = 1e9) -> QueueMemory:
    finished = Finished(jobs, jobs * mean, jobs * square, longest)
    return QueueMemory(name, jobs=jobs, job_seconds=mean, job_seconds_squared=square, finished=finished)


@pytest.mark.parametrize(
    ("draw", "seconds"),
    [
        (lambda _: 2.0, 2.0),
        (lambda rng: rng.lognormvariate(0.0, 0.8), 3.73),
        (lambda rng: rng.expovariate(1.0), 3.0),
        (lambda rng: rng.uniform(0.0, 2.0), 1.9),
    ],
)
def test_the_95th_percentile_is_told_within_an_eighth(draw: Callable[[random.Random], float], seconds: float) -> None:
    rng = random.Random(1)
    jobs = [draw(rng) for _ in range(50_000)]
    mean, square = sum(jobs) / len(jobs), sum(job**2 for job in jobs) / len(jobs)
    assert high_seconds(queue("default", 50, mean, square, max(jobs))) == pytest.approx(seconds, rel=1 / 8)


@pytest.mark.parametrize(
    ("template", "setting"),
    [
        ({}, "Raise spec.worker.shutdownTimeout if"),
        # Beside it shutdownTimeout says nothing.
        ({"spec": {"terminationGracePeriodSeconds": 60}}, "Raise terminationGracePeriodSeconds in spec.worker.template if"),
    ],
)
def test_the_setting_that_helps_is_named(template: dict[str, object], setting: str) -> None:
    value = body()
    value["spec"]["worker"]["template"] = template
    found, _ = short_grace(parse_job_queue(value).spec.worker, ScalingMemory((queue("default", 50, 99.0, 99.0**2),)))
    assert found is not None
    assert setting in found.message


def test_the_longest_job_is_that_of_all_looks() -> None:
    memory = QueueMemory("default")
    for finished in (Finished(10, 20.0, 60.0, 5.0), Finished(20, 30.0, 70.0, 5.0), Finished(21, 39.0, 151.0, 9.0)):
        memory, _, _ = update_queue(memory, depth(finished=finished), 1.0, 0.0)
    assert memory.finished.longest_seconds == 9.0


@pytest.mark.parametrize(
    ("queues", "template", "said"),
    [
        ((), {}, None),
        ((QueueMemory("default", jobs=50),), {}, None),
        ((queue("default", 50, 29.0, 29.0**2),), {}, None),
        ((queue("default", 50, 31.0, 31.0**2),), {}, "jobs of queue default takes 31 s or longer"),
        # Too few jobs to tell; most end soon, but not all.
        ((queue("default", 49, 31.0, 31.0**2),), {}, None),
        ((queue("default", 50, 12.0, 2 * 12.0**2),), {}, "takes 33.4 s or longer"),
        ((queue("default", 50, 40.0, 40.0**2), queue("high", 50, 50.0, 50.0**2)), {}, "queue high takes 50 s or longer"),
        # Half of them take nothing, half of them 25 s; then one took 90 s.
        ((queue("default", 50, 12.5, 12.5 * 25, 25.0),), {}, None),
        ((queue("default", 50, 12.5, 12.5 * 25, 90.0),), {}, "takes 34.8 s or longer"),
        ((queue("default", 50, 12.5, 12.5 * 25, 31.0),), {}, "takes 31 s or longer"),
        # A grace period in the template takes the place of shutdownTimeout.
        ((queue("default", 50, 31.0, 31.0**2),), {"spec": {"terminationGracePeriodSeconds": 60}}, None),
        ((queue("default", 50, 56.0, 56.0**2),), {"spec": {"terminationGracePeriodSeconds": 60}}, "gives its jobs 55 s"),
    ],
)
def test_jobs_that_take_longer_than_pods_have(
    queues: tuple[QueueMemory, ...], template: dict[str, object], said: str | None
) -> None:
    value = body()
    value["spec"]["worker"]["template"] = template
    found, _ = short_grace(parse_job_queue(value).spec.worker, ScalingMemory(queues))
    assert (found is None) is (said is None)
    assert found is None or said is None or (found.reason == "GracePeriodShort" and said in found.message)


def test_it_is_said_once_for_each_queue_and_time() -> None:
    """Each change of a spec told it again: six times in four minutes of trying one out."""

    def events(
        memory: Memory, spec: dict[str, object], seconds: str = "30s", *, both: bool = False
    ) -> tuple[list[str], Memory]:
        value = body(**spec)
        value["metadata"]["generation"] += 1
        value["spec"]["worker"]["shutdownTimeout"] = seconds
        long = Finished(50, 50 * 99.0, 50 * 99.0**2, 99.0)
        store = StoreView((depth(finished=long), *([depth("high", finished=long)] if both else [])))
        decided = plan(Observed(0.0, store), parse_job_queue(value), memory)
        found = [event.message for event in decided.events if event.reason == "GracePeriodShort"]
        return [message.split()[7] for message in found], decided.memory

    told, memory = [], Memory(scaling=ScalingMemory((queue("default", 50, 99.0, 99.0**2),)))
    for look in (
        {"spec": {}},
        {"spec": {}},
        {"spec": {"minReplicas": 0}},
        {"spec": {}, "both": True},
        {"spec": {}, "both": True},
        {"spec": {}, "seconds": "60s", "both": True},
        {"spec": {}, "seconds": "60s", "both": True},
        {"spec": {}, "seconds": "600s", "both": True},
    ):
        found, memory = events(memory, **look)
        told.append(found)
    assert told == [["default"], [], [], ["high"], [], ["default"], ["high"], []]
    assert not plan(Observed(0.0, StoreView((depth(),))), job_queue(), Memory()).events
