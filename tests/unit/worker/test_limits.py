"""Limits as a queue's metadata hold them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rivermill import Concurrency, RateLimit, ValidationError
from rivermill.limits import is_limited, read_concurrency, read_rate_limit


@pytest.mark.parametrize(
    ("concurrency", "metadata"),
    [
        (Concurrency(3), {"global_limit": 3, "local_limit": 0, "partition": {}}),
        (Concurrency(local_limit=2, by_kind=True), {"global_limit": 0, "local_limit": 2, "partition": {"by_kind": True}}),
        (Concurrency(5, 1, by_args=True), {"global_limit": 5, "local_limit": 1, "partition": {"by_args": []}}),
        (Concurrency(5, by_args=("a", "b")), {"global_limit": 5, "local_limit": 0, "partition": {"by_args": ["a", "b"]}}),
    ],
)
def test_both_ways(concurrency: Concurrency, metadata: dict[str, Any]) -> None:
    assert concurrency.to_metadata() == metadata
    assert read_concurrency(metadata) == concurrency
    assert is_limited({"concurrency": metadata, "own": 1})


@pytest.mark.parametrize(
    "value",
    [None, {}, {"global_limit": 0}, {"global_limit": -1}, {"global_limit": "5"}, [1], "x", {"global_limit": 1, "partition": 5},
     {"global_limit": 1, "partition": {"by_args": [1]}}, {"partition": {"by_kind": True}}],
)  # fmt: skip
def test_what_is_no_limit(value: Any) -> None:
    assert read_concurrency(value) is None


def test_partitions_that_river_ui_writes_as_null() -> None:
    value = {"global_limit": 2, "local_limit": None, "partition": {"by_args": None, "by_kind": None}}
    assert read_concurrency(value) == Concurrency(2)
    assert not is_limited({"concurrency": None})
    assert not is_limited({})
    assert not is_limited([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "global_limit, local_limit or both"),
        ({"global_limit": 0}, "global_limit"),
        ({"local_limit": True}, "local_limit"),
        ({"global_limit": 1, "by_args": "id"}, "by_args"),
        ({"global_limit": 1, "by_args": []}, "by_args"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Concurrency(**options)


@pytest.mark.parametrize(
    ("rate", "metadata"),
    [
        (RateLimit(100, timedelta(seconds=1)), {"limit": 100, "period_seconds": 1.0, "partition": {}}),
        (RateLimit(1, timedelta(milliseconds=1)), {"limit": 1, "period_seconds": 0.001, "partition": {}}),
        (
            RateLimit(5, timedelta(days=1), by_kind=True, by_args=("a", "b")),
            {"limit": 5, "period_seconds": 86400.0, "partition": {"by_kind": True, "by_args": ["a", "b"]}},
        ),
        (
            RateLimit(5, timedelta(hours=1), by_args=True),
            {"limit": 5, "period_seconds": 3600.0, "partition": {"by_args": []}},
        ),
    ],
)
def test_rates_both_ways(rate: RateLimit, metadata: dict[str, Any]) -> None:
    assert rate.to_metadata() == metadata
    assert read_rate_limit(metadata) == rate
    assert rate.partitioned is bool(metadata["partition"])
    assert is_limited({"rate_limit": metadata})


@pytest.mark.parametrize(
    "value",
    [None, {}, {"limit": 5}, {"period_seconds": 1}, {"limit": 0, "period_seconds": 1}, {"limit": 5, "period_seconds": "1"},
     {"limit": 5, "period_seconds": 0}, {"limit": 5, "period_seconds": 1e300}, {"limit": 5, "period_seconds": float("nan")},
     {"limit": 5.5, "period_seconds": 1}, [1], "x", {"limit": 5, "period_seconds": 1, "partition": {"by_args": "id"}},
     {"limit": 5, "period_seconds": 1, "partition": {"by_args": [1]}}],
)  # fmt: skip
def test_what_is_no_rate(value: Any) -> None:
    assert read_rate_limit(value) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "rate_limit limit 0"),
        ({"limit": True}, "rate_limit limit True"),
        ({"limit": 1_000_001}, "rate_limit limit 1000001"),
        ({"period": timedelta(0)}, "rate_limit period"),
        ({"period": timedelta(days=367)}, "rate_limit period"),
        ({"period": 1}, "rate_limit period 1: use a timedelta"),
        ({"by_args": []}, "rate_limit by_args"),
    ],
)
def test_what_is_refused_as_a_rate(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RateLimit(**{"limit": 1, "period": timedelta(seconds=1), **options})
