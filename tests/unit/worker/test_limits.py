"""Concurrency limits as a queue's metadata hold them."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill import Concurrency, ValidationError
from rivermill.limits import is_limited, read_concurrency


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
