"""Regular looks of all loops fall on common moments, and whoever is asked to look does."""

from __future__ import annotations

import pytest

from rivermill_operator.control.wake import Wakes
from rivermill_operator.model import names
from rivermill_operator.plan.looks import until_look, until_tick


@pytest.mark.parametrize(
    ("now", "delay", "wait"),
    [
        (30.05, 1.5, 1.45),
        (30.9, 1.5, 0.6),
        (30.05, 15.0, 14.95),
        (33.7, 15.0, 14.3),
        # Sooner than the next common moment: as asked.
        (30.05, 1.0, 1.0),
        (30.05, 0.01, 0.01),
        (31.0, 1.0, 0.5),
    ],
)
def test_looks_fall_on_common_moments(now: float, delay: float, wait: float) -> None:
    assert until_tick(now, delay) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (float("-inf"), 0.05),
        (20.0, 0.05),  # after a rest: at once
        (30.4, 0.05),
        (30.6, 0.15),  # a moment ago: in another moment
        (30.7, 0.25),
    ],
)
def test_looks_that_are_asked_for_all_the_time_are_few(asked: float, wait: float) -> None:
    assert until_look(30.7, asked, 0.25) == pytest.approx(wait)


@pytest.mark.parametrize(("loops", "interval"), [(1, 0.25), (33, 0.25), (133, 1.0), (399, 3.0)])
def test_many_loops_look_more_rarely(loops: int, interval: float) -> None:
    wakes = Wakes()
    for number in range(loops):
        wakes.add(("default", str(number)))
    assert wakes.interval == interval


@pytest.mark.parametrize("name", ["short", "a-name-that-is-longer-than-what-a-label-of-kubernetes-may-hold-by-far"])
def test_a_loop_is_woken_by_its_name_and_by_the_label_of_its_objects(name: str) -> None:
    """A long name is shortened there: such a JobQueue heard nothing of its pods and Deployments."""
    wakes, key = Wakes(), ("n", name)
    event = wakes.add(key)
    for called in (name, names.labels(name, "hash")[names.JOB_QUEUE_LABEL]):
        event.clear()
        wakes.wake(("n", called))
        assert event.is_set()
    wakes.wake(("n", "another"))
    assert wakes.remove(key, event)
    assert not wakes.remove(key, event)
