"""Limits of queues as settings and the command line write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rivermill import Concurrency, ConfigError, RateLimit
from rivermill.limit_texts import parse_concurrency, parse_rate, read_concurrency_limits, read_rate_limits

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", Concurrency(5)),
        (5, Concurrency(5)),
        ("2:kind", Concurrency(2, by_kind=True)),
        ("1:args", Concurrency(1, by_args=True)),
        ("1:args.to+kind+args.from", Concurrency(1, by_kind=True, by_args=("from", "to"))),
    ],
)
def test_concurrency(text: Any, expected: Concurrency) -> None:
    assert parse_concurrency("LIMIT", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/1s", RateLimit(100, SECOND)),
        ("100/1h30m:kind", RateLimit(100, timedelta(minutes=90), by_kind=True)),
        ("1/60:args.to", RateLimit(1, timedelta(minutes=1), by_args=("to",))),
    ],
)
def test_rate(text: str, expected: RateLimit) -> None:
    assert parse_rate("LIMIT", text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "0", "-1", "1.5", "5:", "5:to", "5:kind+", "5:args+args.to", "5:args.", "5/1s", None]
)
def test_what_is_no_concurrency(text: Any) -> None:
    with pytest.raises(ConfigError, match="LIMIT"):
        parse_concurrency("LIMIT", text)


@pytest.mark.parametrize("text", ["", "100", "100/", "100/x", "/1s", "0/1s", "1/10000h", "1/0.1ms", "1/1s:to"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ConfigError, match="LIMIT"):
        parse_rate("LIMIT", text)


def test_limits_of_several_queues() -> None:
    expected = {"mail": Concurrency(5), "calls": Concurrency(1, by_args=("to",))}
    assert read_concurrency_limits("X", "mail:5, calls:1:args.to") == expected
    assert read_concurrency_limits("X", {"mail": 5, "calls": "1:args.to"}) == expected
    assert read_rate_limits("X", "mail:5/1s") == {"mail": RateLimit(5, SECOND)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("mail", "X part 'mail': write queue:limit"),
        ("mail:5/1s,", "X part '': write queue:limit"),
        ("mail:5/1s,calls:5/1s,mail:9/1s", "X: queue 'mail' stands twice; name each queue once"),
        ("mail:5/s", "X, queue 'mail', '5/s': the period 's': use a duration above zero such as 500ms, 1s, 2m or 1h30m; write"),
        ("mail:5", "X, queue 'mail', '5': write starts/period, e.g. 100/1s"),
        ({"mail": 5}, "X.mail 5: write starts/period"),
        (5, "X 5: write queue:limit,…, or a mapping"),
        (None, "X None: write queue:limit,…, or a mapping"),
    ],
)
def test_what_are_no_limits(value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rate_limits("X", value)
    assert str(caught.value).startswith(message)
