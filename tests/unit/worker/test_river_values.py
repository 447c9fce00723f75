"""Values that River for Go v0.51.1 computes or writes, and ours for the same."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import UNIQUE_STATES_DEFAULT, JobFailure, JobSnooze, JobState, Unique, gojson
from rivermill.errors import WorkerCrashError
from rivermill.outcome import Attempt, decide, error_element, error_text
from rivermill.retry import retry_delay
from rivermill.rows import STATE_BITS

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
LARGEST = 9_223_372_036_854_775_807


@pytest.mark.parametrize(
    ("metadata", "snoozes"),
    [
        ({}, 1),
        ({"snoozes": 9_007_199_254_740_993}, 9_007_199_254_740_994),
        ({"snoozes": 2}, 3),
        ({"snoozes": LARGEST - 1}, LARGEST),
        ({"snoozes": 0}, 1),
    ],
)
def test_snooze_counters(metadata: dict[str, Any], snoozes: int) -> None:
    attempt = Attempt(1, 1, 25, NOW, metadata)
    completion = decide(attempt, JobSnooze(timedelta(minutes=1)), now=NOW, next_retry=lambda: NOW)
    assert completion.metadata is not None
    assert json.loads(completion.metadata) == {"snoozes": snoozes}


def test_states_and_their_bits() -> None:
    names = ("available", "cancelled", "completed", "discarded", "pending", "retryable", "running", "scheduled")
    assert {state.value: bit for state, bit in STATE_BITS.items()} == {name: 1 << n for n, name in enumerate(names)}
    assert tuple(JobState) == names
    assert sorted(UNIQUE_STATES_DEFAULT) == ["available", "completed", "pending", "retryable", "running", "scheduled"]
    assert Unique(by_args=True).state_mask == 245


def test_the_form_of_an_error() -> None:
    stored = json.loads(error_element(NOW, 3, 'worker failed: escaped "detail"', "frame one\nframe two"))
    assert stored == {
        "at": "2026-01-02T03:04:05.6789Z",
        "attempt": 3,
        "error": 'worker failed: escaped "detail"',
        "trace": "frame one\nframe two",
    }


def test_a_long_error_loses_its_middle() -> None:
    stored = json.loads(error_element(NOW, 1, "a" * 5_000_000 + "b", "first" + "\n" * 5_000_000 + "last"))
    assert len(stored["error"]) < 33_000
    assert len(stored["trace"]) < 33_000
    assert stored["error"].startswith("aaa")
    assert stored["error"].endswith("ab")
    assert "… 4967233 characters are left out here …" in stored["error"]
    assert (stored["trace"][:5], stored["trace"][-4:]) == ("first", "last")


GROUP = "ExceptionGroup: two (2 sub-exceptions), first KeyError: 'a'"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise KeyError("text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("user_id"), "KeyError: 'user_id'"),
        (SystemExit(3), "SystemExit: 3"),
        (AssertionError(), "AssertionError"),
        (UnspeakableError(), "UnspeakableError"),
        (JobFailure("no stock"), "no stock"),
        (JobFailure(), "JobFailure"),
        (WorkerCrashError("it died", 7), "it died"),
        (ExceptionGroup("two", [ExceptionGroup("one", [KeyError("a")]), OSError()]), GROUP),
    ],
)
def test_the_text_of_an_error(error: BaseException, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize("text", ["{}", " { } ", '{"a":1e400}', '{ "a" : {"b": []} }\n'])
def test_members_are_added_to_the_text_of_an_object(text: str) -> None:
    assert json.loads(gojson.add_members(text, {})) == json.loads(text)
    added = gojson.add_members(text, {"b": [1], "c": "<"})
    assert json.loads(added) == {**json.loads(text), "b": [1], "c": "<"}
    assert text.strip("{} \n") in added


class _Extreme(random.Random):
    """Gives the least or the greatest of what is asked for."""

    def __init__(self, *, greatest: bool) -> None:
        super().__init__()
        self._greatest = greatest

    def uniform(self, a: float, b: float) -> float:
        return b if self._greatest else a


@pytest.mark.parametrize(
    ("errors", "least", "greatest"),
    [
        (1, 900_000_000, 1_100_000_000),
        (2, 14_400_000_000, 17_600_000_000),
        (3, 72_900_000_000, 89_100_000_000),
        (4, 230_400_000_000, 281_600_000_000),
        (5, 562_500_000_000, 687_500_000_000),
        (10, 9_000_000_000_000, 11_000_000_000_000),
        (11, 13_176_900_000_000, 16_105_100_000_000),
        (24, 298_598_400_000_000, 364_953_600_000_000),
        (25, 351_562_500_000_000, 429_687_500_000_000),
        (309, 8_204_959_224_899_999_744, LARGEST),
        (310, LARGEST, LARGEST),
        (400, LARGEST, LARGEST),
    ],
)
def test_bounds_of_retry_delays(errors: int, least: int, greatest: int) -> None:
    for nanoseconds, rng in ((least, _Extreme(greatest=False)), (greatest, _Extreme(greatest=True))):
        assert retry_delay(errors, rng) / timedelta(microseconds=1) == pytest.approx(nanoseconds / 1000, rel=1e-12, abs=1)
