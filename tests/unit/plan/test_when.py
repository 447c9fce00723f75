"""What is to come is told by the clock, since a status is read long after it was written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rivermill_operator.model.observed import Moment
from rivermill_operator.plan.explain import when


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "at 23:59:00 UTC"),
        (-5.0, "at 23:59:00 UTC"),
        (12.4, "at 23:59:12 UTC"),
        (12.6, "at 23:59:13 UTC"),
        (61.0, "at 2026-03-02 00:00:01 UTC"),
        # As far as a spec may ask for.
        (1e12, "in 11574074 days"),
    ],
)
def test_a_moment_to_come(seconds: float, words: str) -> None:
    assert when(Moment(7.0, datetime(2026, 3, 1, 23, 59, tzinfo=UTC)), seconds) == words
