"""How many statuses are written."""

from __future__ import annotations

import pytest

from rivermill_operator.control.pace import BURST, NUMBERS_SECONDS, STEP_SECONDS, Pace


def written(seconds: float, spare: int) -> list[float]:
    """When statuses are written that there is always something for."""
    pace, times = Pace(), []
    for tenth in range(int(seconds * 10)):
        if pace.wait(tenth / 10, spare) <= 0:
            pace.spend(tenth / 10)
            times.append(tenth / 10)
    return times


def test_a_burst_comes_at_once_and_then_four_a_minute() -> None:
    times = written(600.0, 0)
    assert times[:BURST] == [0.0, 2.0, 4.0, 6.0]
    assert len(times) <= BURST + 600 / NUMBERS_SECONDS
    assert times[-1] - times[-2] == pytest.approx(NUMBERS_SECONDS, abs=0.2)


def test_what_can_wait_leaves_one_for_what_moves_next() -> None:
    pace = Pace()
    for now in (0.0, 1.0, 2.0):
        pace.spend(now)
    assert pace.wait(4.0, 1) > 0
    assert pace.wait(4.0, 0) == 0


def test_steps_are_told_together() -> None:
    pace = Pace()
    assert pace.wait(0.0, 0) == 0
    pace.spend(0.0)
    assert pace.wait(0.5, 0) == STEP_SECONDS - 0.5


def test_what_cannot_wait_owes_nothing() -> None:
    pace = Pace()
    for now in range(100):
        pace.spend(now / 10)
    assert pace.wait(9.9, 0) == NUMBERS_SECONDS
