"""Regular looks of all loops fall on common moments."""

from __future__ import annotations

import pytest

from rivermill_operator.control.wake import Pace, Wakes, until_tick


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
    ("looks", "wait"),
    [
        ((), 0.05),
        ((20.0,), 0.05),  # after a rest: at once
        ((30.65,), 0.05),  # and once more
        ((30.5, 30.65), 0.05),
        ((30.6, 30.65), 0.15),  # then in another moment
        ((30.69, 30.7), 0.24),
        # Regular looks cannot be put off, and cost no more than the next.
        ((30.6, 30.62, 30.64, 30.7), 0.25),
    ],
)
def test_looks_that_are_asked_for_all_the_time_are_few(looks: tuple[float, ...], wait: float) -> None:
    pace = Pace()
    for look in looks:
        pace.looked(look, 0.25)
    assert pace.wait(30.7, 0.25) == pytest.approx(wait)


@pytest.mark.parametrize(("loops", "interval"), [(1, 0.25), (50, 0.25), (100, 0.5), (400, 2.0)])
def test_many_loops_look_more_rarely(loops: int, interval: float) -> None:
    wakes = Wakes()
    for number in range(loops):
        wakes.add(("default", str(number)))
    assert wakes.interval == interval
