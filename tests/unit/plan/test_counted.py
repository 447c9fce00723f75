"""A queue whose jobs could not all be counted, for the database was slow: it is not taken to be shorter than it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rivermill_operator.model.observed import Finished, FleetView, Moment, QueueDepth, StoreView
from rivermill_operator.model.status import Decision
from rivermill_operator.plan.counted import Counted, count
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.scaling import decide
from tests.unit.plan.build import depth, job_queue

KNOWN = Counted(waiting=5000, arrived=100, finished=40, running=10)


@pytest.mark.parametrize(
    ("known", "numbers", "waiting"),
    [
        (None, {"waiting": 1001, "bounded": True}, 1001),
        (KNOWN, {"waiting": 1001, "bounded": True, "arrived": 160, "finished": Finished(70), "running": 20}, 5020),
        # What was counted is more.
        (KNOWN, {"waiting": 6000, "bounded": True, "arrived": 100, "finished": Finished(40), "running": 10}, 6000),
        # All were counted.
        (KNOWN, {"waiting": 7, "arrived": 160, "finished": Finished(70)}, 7),
        # The store was opened anew.
        (KNOWN, {"waiting": 1001, "bounded": True, "arrived": 99, "finished": Finished(70)}, 1001),
        (KNOWN, {"waiting": 1001, "bounded": True, "arrived": 160, "finished": Finished(39)}, 1001),
    ],
)
def test_what_could_not_be_counted_is_carried_forward(known: Counted | None, numbers: dict[str, Any], waiting: int) -> None:
    seen = depth(**numbers)
    counted = Counted(waiting, seen.arrived, seen.finished.jobs, seen.running, soon=((99.0, 0),))
    assert count(known, seen, [(0.0, 0)], 99.0) == counted


@pytest.mark.parametrize(
    ("oldest", "waiting"),
    [
        # Of 2,000 jobs a second that end only 1,000 a look are seen to: what waits came in the last 2.5 s, or 3 s at most, and
        # 5 s before it was due.
        (2.5, 16_000),
        (3.0, 16_000),
        (0.1, 12_000),
        (0.0, 10_000),
        # From before the first look, or nobody can tell.
        (5.1, 25_000),
        (None, 25_000),
    ],
)
def test_no_more_can_wait_than_came_since_the_oldest_did(oldest: float | None, waiting: int) -> None:
    samples = [(float(second), 2000 * second) for second in range(11)]
    soon = tuple((time, 0) for time, _ in samples)
    known = Counted(waiting=16_000, arrived=10_000, finished=1000, running=10, soon=soon)
    seen = depth(waiting=1001, bounded=True, arrived=20_000, finished=Finished(2000), running=10, oldest_seconds=oldest)
    assert count(known, seen, samples, 10.0).waiting == waiting


SLOW = {"waiting": 1001, "bounded": True, "arrived": 100}


@pytest.mark.parametrize(
    ("looks", "waiting"),
    [
        # Scheduled for one time, and made available 5 s before: nothing has come, and the oldest has just become due.
        (
            [
                {"due_soon": 50_000, "arrived": 100},
                {"arrived": 100},
                {"arrived": 100},
                {"waiting": 50_000, "arrived": 100, "oldest_seconds": 1.0},
                {**SLOW, "running": 100, "finished": Finished(900), "oldest_seconds": 3.0},
                {**SLOW, "running": 100, "finished": Finished(1900), "oldest_seconds": 5.0},
            ],
            48_000,
        ),
        # The slow database did not count all that were due soon, either.
        (
            [
                {"due_soon": 1002, "arrived": 100},
                {"arrived": 100},
                {"arrived": 100},
                {"waiting": 50_000, "arrived": 100, "oldest_seconds": 1.0},
                {**SLOW, "running": 100, "finished": Finished(900), "oldest_seconds": 3.0},
            ],
            49_000,
        ),
        # Retries: those that waited have all failed, and are due again.
        (
            [
                {"waiting": 900, "arrived": 100, "due_soon": 800, "oldest_seconds": 40.0},
                {"waiting": 900, "arrived": 100, "due_soon": 900, "oldest_seconds": 40.0},
                {"waiting": 1700, "arrived": 100, "due_soon": 900, "oldest_seconds": 9.0},
                {"waiting": 1700, "arrived": 100, "due_soon": 900, "oldest_seconds": 2.0},
                {**SLOW, "running": 100, "due_soon": 900, "oldest_seconds": 1.0},
            ],
            1600,
        ),
        # A few retries are no reason to believe in thousands: ends were not all seen.
        (
            [
                {"waiting": 9000, "arrived": 100, "due_soon": 5, "oldest_seconds": 40.0},
                {"waiting": 9000, "arrived": 300, "due_soon": 5, "oldest_seconds": 9.0},
                {"waiting": 9000, "arrived": 700, "due_soon": 5, "oldest_seconds": 9.0},
                {"waiting": 9000, "arrived": 1100, "due_soon": 5, "oldest_seconds": 9.0},
                {**SLOW, "arrived": 2600, "due_soon": 5, "oldest_seconds": 1.0},
            ],
            2315,
        ),
    ],
    ids=["scheduled", "bounded", "retries", "few"],
)
def test_what_becomes_due_without_having_come_counts_too(looks: list[dict[str, Any]], waiting: int) -> None:
    known, samples = None, []
    for number, numbers in enumerate(looks):
        seen = depth(**numbers)
        samples.append((2.0 * number, seen.arrived))
        known = count(known, seen, samples, 2.0 * number)
    assert known is not None
    assert known.waiting == waiting


def test_the_sums_of_what_was_due_soon_stay_with_the_samples() -> None:
    known = None
    for number in range(1000):
        samples = [(float(time), 0) for time in range(max(0, number - 9), number + 1)]
        known = count(known, depth(due_soon=3), samples, float(number))
    assert known is not None
    assert known.soon == tuple((float(time), 3 * time) for time in range(990, 1000))


def look(
    memory: ScalingMemory, now: float, ready: int, seen: QueueDepth, degraded: str | None = None
) -> tuple[Decision, ScalingMemory]:
    fleet = FleetView(ready, ready, busy={"default": min(seen.running, 10 * ready)})
    queue = job_queue(maxReplicas=50, scaleIn={"windowSeconds": 0})
    return decide(queue.spec, StoreView((seen,), degraded=degraded), fleet, memory, Moment(now))


DONE = Finished(500, 500 * 2.0, 500 * 4.0, 2.0)
MANY = depth(waiting=12_000, arrived=12_000, finished=DONE)
#: 200 more have come, 100 have ended and 100 run.
MORE = replace(MANY, waiting=1001, bounded=True, arrived=12_200, finished=replace(DONE, jobs=600, seconds=1200.0), running=100)


@pytest.mark.parametrize("degraded", [None, "depths"])
def test_a_slow_database_asks_for_as_many_pods_as_a_quick_one(degraded: str | None) -> None:
    _, memory = look(ScalingMemory(), 0.0, 10, replace(MANY, finished=Finished()))
    _, memory = look(memory, 2.0, 10, MANY)
    whole, _ = look(memory, 4.0, 10, replace(MORE, waiting=12_000, bounded=False))
    part, memory = look(memory, 4.0, 10, MORE, degraded)
    assert (part.desired_replicas, part.terms) == (whole.desired_replicas, whole.terms)
    assert part.desired_replicas is not None
    assert part.desired_replicas > 30
    assert "at least 1001 jobs waiting and 100 running (about 12000 wait, by what came and ended" in part.sentence
    assert "at least" not in whole.sentence
    # Again and again.
    later, _ = look(memory, 6.0, 10, MORE)
    assert later.desired_replicas == whole.desired_replicas


def test_nothing_is_scaled_in_on_a_lower_bound() -> None:
    short = replace(DONE, seconds=500 * 0.01, seconds_squared=500 * 0.0001)
    _, memory = look(ScalingMemory(), 0.0, 10, depth(waiting=1, running=1))
    held, _ = look(memory, 9.0, 10, depth(waiting=1001, bounded=True, running=1, finished=short))
    assert (held.desired_replicas, held.pending) == (10, "no scale-in while more jobs of queue default wait than were counted")
    assert "at least 1001 jobs waiting and 1 running;" in held.sentence
    gone, _ = look(memory, 9.0, 10, depth(waiting=1001, running=1, finished=short))
    assert gone.desired_replicas is not None
    assert gone.desired_replicas < 10
