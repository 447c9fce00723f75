"""What the speed gates conclude from figures."""

from __future__ import annotations

import pytest

from benchmarks.gates import Figures, Gate, median, outside

GATE = Gate("worker", 0.8, 1.25, 32)


@pytest.mark.parametrize(
    ("ours", "missed"),
    [
        (Figures(80.0, 12.5), []),
        (Figures(79.9, 12.5), ["80 jobs/s are less than 0.8 of River's 100"]),
        (Figures(500.0, 12.6), ["p95 12.6 ms is more than 1.25 times River's 10.0 ms"]),
    ],
)
def test_both_bounds_count(ours: Figures, missed: list[str]) -> None:
    assert outside(GATE, ours, Figures(100.0, 10.0)) == missed


def test_each_figure_has_its_own_median() -> None:
    assert median([Figures(1.0, 9.0), Figures(3.0, 8.0), Figures(2.0, 10.0)]) == Figures(2.0, 9.0)
