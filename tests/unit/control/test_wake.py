"""Regular looks of all loops fall on common moments."""

from __future__ import annotations

import pytest

from rivermill_operator.control.wake import until_look, until_tick


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
    ("last", "again", "wait"),
    [
        # After a rest: at once.
        (20.0, False, 0.05),
        (20.0, True, 0.05),
        (30.1, False, 0.05),
        # A moment ago: on the next common moment.
        (30.6, False, 0.3),
        # Asked for all the time: no more often than a busy fleet is looked at anyway.
        (30.1, True, 0.8),
    ],
)
def test_looks_that_are_asked_for_all_the_time_are_few(last: float, again: bool, wait: float) -> None:
    assert until_look(30.7, last, again=again) == pytest.approx(wait)
