"""Unique keys and the JSON text they are made from, against values that River for Go computes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivermill import JobState, ValidationError, gojson
from rivermill.args import encode_args
from rivermill.unique import Unique, unique_key

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL, SELECTED, SIMPLE = "conformance_all_args", "conformance_selected_args", "conformance_simple"
PATHS = ["account.id", "account.region", "label", "path/key"]


@pytest.mark.parametrize(
    ("unique", "facts", "expected"),
    [
        (Unique(by_args=True), {"kind": ALL, "args": "{}"}, "fe05a58ddb79a8d4544da962582d9a290d59788c920afd3597da3a62e3c1b0ac"),
        (
            Unique(by_args=True),
            {"kind": ALL, "args": '{"nested":{"z":1,"a":2}}'},
            "46ff499cb031d0458bb00ef87e7b83321eefb6e7534497c279c4ae0f474cdde0",
        ),
        (Unique(by_args=PATHS), {"kind": SELECTED}, "23aa86692d9807ab10e433e378f1c0804573f5e345818461b919322dd381b4c3"),
        (
            Unique(by_args=PATHS),
            {"kind": SELECTED, "args": '{"account":{"id":"acct","ignored":"x","region":"west"},"path/key":"slash"}'},
            "7d62e81ac25cfa2dec69ad5a41e0b78188ee1b299bed329b453da6b3abca70bd",
        ),
        (
            Unique(by_args=PATHS),
            {"kind": SELECTED, "args": '{"label":null}'},
            "d137d7c4f1e3f8369037b1890357655b4fa1978a329bcf51435f9f0b54abcab7",
        ),
        (
            Unique(by_args=True),
            {
                "kind": ALL,
                "args": '{"a\\"b":1,"line\\n":2,"é":3,"a\\u003cb":4,"a\\u0026b":5,"a\\u2028b":6}',
            },
            "bab84635792449d758b18950f6f014bfb16d26430e798d84afee9fc9cb793163",
        ),
        (Unique(by_period=HOUR), {}, "5396f06a082abd7a929915135ebd363a9a47d800176b03ce7736f93a5ba9e22e"),
        (Unique(by_period=1.5 * HOUR), {}, "5396f06a082abd7a929915135ebd363a9a47d800176b03ce7736f93a5ba9e22e"),
        (
            Unique(by_period=HOUR),
            {"at": datetime(2026, 1, 2, 10, 51, 5, tzinfo=timezone(timedelta(hours=5.5)))},
            "b7f3c49952996b760b8b3ff6cf48f426e03a6ef0f004fb6faa51725365cf309a",
        ),
        (
            Unique(by_queue=True, exclude_kind=True),
            {"queue": "priority_emails"},
            "d20ce47da8e8015e68b020bbca2b17494139519ae05f8985e5992db4d8dd8a09",
        ),
        (
            Unique(by_args=True, by_period=timedelta(minutes=1), by_queue=True),
            {"args": '{"id":42}', "queue": "priority_emails", "at": datetime(2026, 1, 2, 5, 21, 5, tzinfo=UTC)},
            "6f20262e7b1fa9beaf98255f23030800376636484a98b20c2c04a303bab5a8d5",
        ),
    ],
)
def test_keys_are_rivers(unique: Unique, facts: dict[str, Any], expected: str) -> None:
    values = {"kind": SIMPLE, "args": "{}", "queue": "default", "at": NOW} | facts
    assert unique_key(unique, **values).hex() == expected


def test_long_periods_count_from_year_one() -> None:
    monday = unique_key(
        Unique(by_period=timedelta(days=7)), kind="k", args="{}", queue="q", at=datetime(2025, 12, 29, tzinfo=UTC)
    )
    assert unique_key(Unique(by_period=timedelta(days=7)), kind="k", args="{}", queue="q", at=NOW) == monday


def test_a_member_twice_counts_as_its_first() -> None:
    def key(args: str) -> bytes:
        return unique_key(Unique(by_args=True), kind="k", args=args, queue="q", at=NOW)

    assert key('{"a":1,"a":2,"b":3}') == key('{"b":3,"a":1}') != key('{"a":2,"b":3}')
    with pytest.raises(ValidationError, match="JSON object"):
        key("[1]")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"by_period": timedelta(milliseconds=999)}, "by_period 0:00:00.999000"),
        ({"exclude_kind": True}, "combine it with"),
        ({"by_state": ["sleeping"]}, "'sleeping'"),
        ({"by_state": [JobState.AVAILABLE]}, "add pending, running, scheduled"),
        ({"by_args": "id"}, r"pass a list of paths, e.g. \['id'\]"),
        ({"by_args": ["a..b"]}, "must not be empty"),
        ({"by_args": ["7"]}, "digits only"),
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Unique(**wrong)


def test_state_masks() -> None:
    assert Unique(by_queue=True).state_mask == 245
    states = [JobState.AVAILABLE, JobState.COMPLETED, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED]
    assert Unique(by_state=states).state_mask == 213
    assert Unique().empty
    assert not Unique(by_state=states).empty


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (1e20, "100000000000000000000"),
        (9.999999999999999e20, "999999999999999900000"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (1e-6, "0.000001"),
        (1.1e-5, "0.000011"),
        (18446744073709551615, "18446744073709551615"),
        ("<a>&\u2028\u2029\x1f\x7f/\b", '"\\u003ca\\u003e\\u0026\\u2028\\u2029\\u001f\x7f/\\b"'),
        ([True, None, ()], "[true,null,[]]"),
        (NOW, '"2026-01-02T03:04:05.6789Z"'),
        (NOW.replace(microsecond=0), '"2026-01-02T03:04:05Z"'),
        (NOW.astimezone(timezone(-HOUR * 3.5)), '"2026-01-01T23:34:05.6789-03:30"'),
    ],
)
def test_json_is_gos(value: Any, text: str) -> None:
    assert gojson.encode(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_go_round(value: float) -> None:
    assert float(gojson.encode(value)) == value


@dataclass
class Inner:
    z: int = 1
    a: int = 2


@dataclass
class Rich:
    kind: ClassVar[str] = "rich"
    inner: Inner = field(default_factory=Inner)
    numbers: dict[str, str] = field(default_factory=dict)
    ratio: float = 1.0
    when: datetime = NOW
    data: bytes = b"\x00\xff"
    html: str = "<&>"


def test_args_are_encoded_as_go_would() -> None:
    args = Rich(numbers={"2": "two", "10": "ten"})
    assert encode_args(args) == (
        '{"inner":{"z":1,"a":2},"numbers":{"10":"ten","2":"two"},"ratio":1,'
        '"when":"2026-01-02T03:04:05.6789Z","data":"AP8=","html":"\\u003c\\u0026\\u003e"}'
    )


class Text(msgspec.Struct):
    kind: ClassVar[str] = "text"
    text: str


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_texts_survive_encoding(text: str) -> None:
    assert json.loads(encode_args(Text(text))) == {"text": text}


def test_a_written_out_escape_is_no_nul() -> None:
    assert json.loads(encode_args(Text("\\u0000"))) == {"text": "\\u0000"}
