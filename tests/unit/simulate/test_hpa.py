"""The HPA's arithmetic as tables."""

from __future__ import annotations

import pytest

from rivermill_operator.simulate.hpa import Behavior, Hpa, Rate


@pytest.mark.parametrize(
    ("metric", "status", "expected"),
    [(100, 10, 10), (109, 10, 10), (111, 10, 12), (90, 10, 10), (89, 10, 9), (0, 10, 0), (41, 0, 5)],
)
def test_tolerance(metric: float, status: int, expected: int) -> None:
    assert Hpa(10, 1, 100).propose(metric, status) == expected


def test_without_behavior_replicas_double_but_go_to_four_at_once() -> None:
    hpa, replicas, seen = Hpa(10, 1, 100), 1, []
    for sync in range(7):
        replicas = hpa.sync(sync * 15.0, replicas, replicas, 2000)
        seen.append(replicas)
    assert seen == [4, 8, 16, 32, 64, 100, 100]


def test_with_default_behavior_one_becomes_five() -> None:
    hpa = Hpa(10, 1, 100, Behavior())
    assert hpa.sync(0.0, 1, 1, 2000) == 5
    assert hpa.sync(15.0, 5, 5, 2000) == 10


def test_pods_added_in_the_period_count() -> None:
    hpa = Hpa(10, 1, 100, Behavior(up=(Rate(4, 60),)))
    assert hpa.sync(0.0, 1, 1, 2000) == 5
    assert hpa.sync(15.0, 5, 5, 2000) == 5
    assert hpa.sync(61.0, 5, 5, 2000) == 9


@pytest.mark.parametrize(("behavior", "window"), [(None, 300.0), (Behavior(), 300.0), (Behavior(down_window=60.0), 60.0)])
def test_scale_in_waits_for_the_window(behavior: Behavior | None, window: float) -> None:
    hpa = Hpa(10, 1, 100, behavior)
    assert hpa.sync(0.0, 10, 10, 100) == 10
    assert hpa.sync(window - 15.0, 10, 10, 10) == 10
    assert hpa.sync(window + 1.0, 10, 10, 10) == 1


def test_scale_in_by_policy() -> None:
    hpa = Hpa(10, 1, 100, Behavior(down_window=0.0, down=(Rate(50, percent=True),)))
    assert hpa.sync(0.0, 10, 10, 0) == 5
    assert hpa.sync(15.0, 5, 5, 0) == 2


@pytest.mark.parametrize(("spec", "metric", "expected"), [(0, 500, 0), (7, None, 7), (120, 10, 100), (1, 0, 1)])
def test_bounds_and_unknown(spec: int, metric: float | None, expected: int) -> None:
    assert Hpa(10, 1, 100).sync(0.0, spec, spec, metric) == expected
