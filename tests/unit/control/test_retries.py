"""Each write that went wrong has a pause of its own, which grows."""

from __future__ import annotations

import math
import random

import pytest

from rivermill_operator.control import retries
from rivermill_operator.control.retries import Problem, Retries

WRONG = Problem("scale q-1 to 3: 500 away", refused=False)
REFUSED = Problem("apply Deployment q-1: 422 no", refused=True)


class Clock:
    """Tells what it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    return Clock()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (WRONG, [1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]),  # who is away may be back at any moment
        (REFUSED, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]),
    ],
    ids=["away", "refused"],
)
def test_the_pause_grows_up_to_a_bound_and_begins_anew_after_a_success(
    clock: Clock, problem: Problem, expected: list[float]
) -> None:
    kept = Retries(clock)
    pauses = []
    for _ in range(8):
        kept.begin(1)
        kept.note("a", problem)
        pauses.append(kept.wait())
        clock.now += pauses[-1]
        assert kept.kept("a") == []
    assert pauses == expected
    kept.note("a", None)
    kept.note("a", WRONG)
    assert kept.wait() == 1.0


def test_it_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the loops that met one outage would all ask again at one moment."""
    found = {retries.back_off(3) for _ in range(20)}
    assert len(found) > 1
    assert all(2.0 <= seconds <= 4.0 for seconds in found)


def test_what_is_kept_is_told_and_nothing_else_waits_for_it(clock: Clock) -> None:
    kept = Retries(clock)
    kept.begin(1)
    assert (kept.kept("a"), kept.wait()) == ([], math.inf)
    kept.note("a", WRONG)
    (told,) = kept.kept("a", "b")
    assert (told.text, told.kept, kept.kept("b")) == (WRONG.text, True, [])
    clock.now += 0.5
    kept.note("b", WRONG)
    assert (kept.wait(), len(kept.kept("a", "b"))) == (0.5, 2)


def test_another_spec_is_tried_at_once(clock: Clock) -> None:
    kept = Retries(clock)
    kept.begin(1)
    kept.note("a", WRONG)
    kept.begin(1)
    assert kept.kept("a")
    kept.begin(2)
    assert kept.kept("a") == []


def test_what_nobody_asks_for_is_forgotten(clock: Clock) -> None:
    """Among the writes are annotations of pods, whose names never come again."""
    kept = Retries(clock)
    kept.begin(1)
    for number in range(3):
        kept.note(f"annotate pod {number}", WRONG)
    clock.now += 1.0 + retries.MAX_BACKOFF
    kept.note("annotate pod 3", WRONG)
    kept.begin(1)
    assert list(kept._failed) == ["annotate pod 3"]
