"""The scale-in window begins with what is there, after a restart and after an outage, and nothing takes that away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill_operator.model.observed import Finished, FleetView, Moment, StartingPod, StoreView, Unknown
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.scaling import decide
from tests.unit.plan.build import depth, job_queue

FLEET = FleetView(9, 9)


def wanted(looks: list[tuple[float, StoreView | Unknown]], **scaling: Any) -> list[int | None]:
    """What is decided at each moment, by an operator that has just started."""
    memory, found = ScalingMemory(pod_start_seconds=5.0), []
    for now, store in looks:
        decision, memory = decide(job_queue(**scaling).spec, store, FLEET, memory, Moment(now))
        found.append(decision.desired_replicas)
    return found


def done(jobs: int, **view: Any) -> StoreView:
    return StoreView((depth(finished=Finished(jobs, 1.0 * jobs, 2.0 * jobs)),), **view)


@pytest.mark.parametrize(
    "first",
    [
        # The first look was in part and taught nothing; or few jobs had ended by then.
        done(1000, degraded="durations"),
        done(19),
    ],
)
def test_jobs_that_are_measured_soon_after_a_restart_scale_nothing_in(first: StoreView) -> None:
    looks: list[tuple[float, StoreView | Unknown]] = [(0.0, first), (2.0, done(1000)), (9.0, done(1000)), (10.0, done(1000))]
    assert wanted(looks) == [9, 9, 9, 0]


@pytest.mark.parametrize(("seconds", "after"), [(9.0, 0), (10.0, 9), (120.0, 9)])
def test_after_an_outage_as_long_as_the_window_it_begins_anew(seconds: float, after: int) -> None:
    """What was recommended before is over; that nothing waits at the first look says little of what is to come."""
    end = 20.0 + seconds
    away = Unknown("DatabaseUnreachable", "gone.", seconds)
    looks: list[tuple[float, StoreView | Unknown]] = [
        (0.0, done(0)),
        (19.0, StoreView((depth(waiting=1000),))),
        (20.0, Unknown("DatabaseUnreachable", "gone.")),
        (end, away),
        (end + 1.0, done(0)),
        (end + 12.0, done(0)),
    ]
    assert wanted(looks)[3:] == [9, after, 0]


def test_a_window_of_nothing_holds_nothing() -> None:
    looks: list[tuple[float, StoreView | Unknown]] = [(0.0, done(0)), (1.0, Unknown("X", "x.", 99.0)), (2.0, done(0))]
    assert wanted(looks, scaleIn={"windowSeconds": 0}) == [0, 9, 0]


def test_a_pod_that_never_starts_does_not_make_the_window_grow() -> None:
    """It is an hour old, and as old as it gets: its fleet was kept at the size of its peak for as long as it was there."""
    memory, found = ScalingMemory(pod_start_seconds=5.0), []
    for now, waiting in ((0.0, 20_000), (2.0, 0), (299.0, 0), (303.0, 0)):
        fleet = FleetView(10, 9, (StartingPod("stuck", 3600.0 + now),))
        store = StoreView((depth(waiting=waiting, finished=Finished(1000, 1000.0, 2000.0)),))
        decision, memory = decide(job_queue(scaleIn={}).spec, store, fleet, memory, Moment(now))
        found.append(decision.desired_replicas)
    assert found[1:] == [10, 10, 1]


def test_scale_in_comes_when_it_was_said_to_be_allowed() -> None:
    """A stream that ends is forgotten after a window without anything, and not a window after its average has faded."""
    memory, told, came = ScalingMemory(pod_start_seconds=5.0), "", None
    for now in range(0, 200, 2):
        arrived, works = 20 * min(now, 20), now <= 20
        numbers = {"arrived": arrived, "finished": Finished(arrived, 1.0 * arrived, 2.0 * arrived)}
        store = StoreView((depth(running=20 if works else 0, running_seconds=10.0, **numbers),))
        fleet = FleetView(2, 2, busy={"default": 20 if works else 0})
        moment = Moment(float(now), datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=now))
        decision, memory = decide(job_queue(scaleIn={"windowSeconds": 60}).spec, store, fleet, memory, moment)
        if decision.desired_replicas == 0:
            came = moment.utc
            break
        told = decision.pending or told
    assert came is not None
    assert came == datetime(2026, 1, 5, 0, 1, 22, tzinfo=UTC)
    assert told == f"scale-in to 0 allowed at {came:%H:%M:%S} UTC"
