"""What inserting refuses: options of wrong types, members that args have not, values without JSON; and what it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest

from rivermill import InsertOpts, InsertParams, JobSnooze, SequenceOpts, Unique, ValidationError
from rivermill.args import encode_args
from rivermill.insert_rows import Row, check_queue, make_rows


@dataclass
class Order:
    kind: ClassVar[str] = "order"
    customer_id: int = 1
    parts: list[Any] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)


class Scan(msgspec.Struct, rename="camel", omit_defaults=True, tag="scan"):
    kind: ClassVar[str] = "scan"
    library_id: int = 0


class Model(pydantic.BaseModel):
    kind: ClassVar[str] = "model"
    customer_id: float = 1

    @pydantic.computed_field
    def twice(self) -> float:
        return 2 * self.customer_id


class Open(pydantic.BaseModel, extra="allow"):
    kind: ClassVar[str] = "open"


class Members(dict[str, Any]):
    kind: ClassVar[str] = "members"


@dataclass
class Own:
    kind: ClassVar[str] = "own"

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="own")


@dataclass
class Attribute:
    kind: ClassVar[str] = "attribute"
    insert_opts: ClassVar[InsertOpts] = InsertOpts(queue="own")


@dataclass
class Member:
    kind: ClassVar[str] = "member"
    insert_opts: str = "one of the args"


def row(args: Any, **opts: Any) -> Row:
    return make_rows([InsertParams(args, InsertOpts(**opts))], 25)[0]


@pytest.mark.parametrize(
    ("args", "path", "said"),
    [
        (
            Order(),
            "custmer_id",
            r"'custmer_id': did you mean 'customer_id'\? The JSON of Order has account, customer_id, parts",
        ),
        (Scan(), "library_id", r"'library_id': did you mean 'libraryId'\? The JSON of Scan has libraryId"),
        (Model(), "custmer_id", r"did you mean 'customer_id'\?"),
        (Order(), "x.y", r"'x': The JSON of Order has"),
    ],
)
def test_members_that_args_have_not_are_refused(args: Any, path: str, said: str) -> None:
    with pytest.raises(ValidationError, match=f"^unique by_args {said}" if said[0] == "'" else said):
        row(args, unique=Unique(by_args=[path]))
    with pytest.raises(ValidationError, match="sequence by_args"):
        row(args, sequence=SequenceOpts(by_args=[path]))


@pytest.mark.parametrize(
    ("args", "paths"),
    [
        (Order(), ["customer_id", "account.id", ("parts", "a.b")]),
        (Scan(), ["libraryId"]),
        (Scan(), ["type"]),
        (Model(), ["customer_id", "twice"]),
        (Open(), ["anything"]),
        (Members(), ["anything"]),
    ],
)
def test_members_may_be_absent_where_the_type_allows_them(args: Any, paths: list[Any]) -> None:
    assert row(args, unique=Unique(by_args=paths)).unique_key is not None
    assert row(args, sequence=SequenceOpts(by_args=paths)).state == "pending"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: InsertOpts(scheduled_at="2026-01-02"), "scheduled_at '2026-01-02': use an aware datetime"),  # type: ignore[arg-type]
        (lambda: InsertOpts(scheduled_at=timedelta(1)), "scheduled_at datetime.timedelta.*: use an aware datetime"),  # type: ignore[arg-type]
        (lambda: InsertOpts(scheduled_at=date(2026, 1, 2)), "scheduled_at datetime.date.*: use an aware datetime"),  # type: ignore[arg-type]
        (
            lambda: InsertOpts(unique=Unique()),
            r"unique Unique\(\): nothing in it makes a job unique: use Unique\(by_args=True\)",
        ),
        (lambda: InsertOpts(metadata=[1]), r"metadata \[1\]: use a dict"),  # type: ignore[arg-type]
        (lambda: InsertOpts(unique=True), "unique True: use a Unique"),  # type: ignore[arg-type]
        (lambda: InsertOpts(sequence=True), "sequence True: use a SequenceOpts"),  # type: ignore[arg-type]
        (lambda: InsertOpts(tags="nightly"), r"tags 'nightly': pass a list, e.g. \['nightly'\]"),
        (lambda: InsertOpts(tags=7), "tags 7: use a list"),  # type: ignore[arg-type]
        (lambda: InsertParams(Order(), {"a": 1}), "options {'a': 1}: use InsertOpts"),  # type: ignore[arg-type]
        (lambda: InsertParams(Order(), Unique(by_queue=True)), "options Unique.*: use InsertOpts.unique=.*, or unique="),  # type: ignore[arg-type]
        (lambda: InsertParams("order", {"a": 1}), "args 'order': pass a value of an args type"),  # type: ignore[arg-type]
        (lambda: InsertOpts().over({"a": 1}), "options {'a': 1}: use InsertOpts"),  # type: ignore[arg-type]
        (lambda: row(None), "args 'None': pass a value of an args type"),
        (lambda: row((Order(), InsertOpts())), r"args .*: pass a value .*; options go with it as InsertParams\(args, opts\)"),
        (lambda: row(Order), r"args Order is a type: pass a value of it, Order\(...\)"),
        (lambda: row(Model), r"args Model is a type: pass a value"),
        (lambda: row(Own), r"args Own is a type: pass a value"),
        (lambda: row(Attribute()), "args type Attribute: insert_opts is an InsertOpts: make it a method, `def insert_opts"),
        (lambda: row({"a": 1}), "args .*: pass a value of an args type"),
        (lambda: row(Order(), max_attempts=0), "max_attempts 0: use a whole number from 1 to 32767; more counts as that"),
        (lambda: Unique(by_period=3600), "by_period 3600: use a timedelta"),  # type: ignore[arg-type]
        (lambda: Unique(by_args=5), "by_args 5: pass True, or a list of paths"),  # type: ignore[arg-type]
        (lambda: SequenceOpts(by_args=[5]), "sequence by_args 5: a path is a text"),  # type: ignore[list-item]
        (lambda: JobSnooze(60), "JobSnooze: delay 60: use a timedelta"),  # type: ignore[arg-type]
    ],
)
def test_wrong_options_are_named(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make()


def of_kind(kind: str) -> Any:
    return type("OfKind", (Order,), {"kind": kind})()


@pytest.mark.parametrize("kind", ["", "k" * 128, "a\0b", "a\udcff"])
def test_kinds_that_cannot_be_stored_are_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"kind '.*': use 1 to 127 characters, none of them NUL or a surrogate"):
        row(of_kind(kind))
    assert [row(of_kind(taken)).kind for taken in ("k" * 127, "größe 1", "\U0001f600")]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": [-Infinity]}', "-Infinity is no JSON"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ('{"\\uDFFF": 1}', "surrogates not allowed"),
        ('{"a": "\udcff"}', "surrogates not allowed"),
        ({"file": "\udcff"}, "surrogates not allowed"),
        ({"\udcff": 1}, "surrogates not allowed"),
        ("[1]", "the text is not a JSON object"),
        ({"a": math.nan}, "not JSON compliant"),
    ],
)
def test_metadata_that_cannot_be_stored_are_refused(metadata: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=f"^metadata cannot be encoded as a JSON object: .*{said}"):
        row(Order(), metadata=metadata)


@pytest.mark.parametrize(
    ("metadata", "stored"),
    [
        ('{"a": "\\ud83d\\ude00", "b": "\\\\ud800"}', '{"a": "\\ud83d\\ude00", "b": "\\\\ud800"}'),
        ('{"a":1e400}', '{"a":1e400}'),
        ({"raw": b"x", "more": bytearray(b"xy")}, '{"raw":"eA==","more":"eHk="}'),  # as args, and as Go's []byte
    ],
)
def test_metadata_are_stored_as_they_are(metadata: Any, stored: str) -> None:
    assert row(Order(), metadata=metadata).metadata == stored


def test_what_is_right_stays_right() -> None:
    due = datetime(2026, 1, 2, tzinfo=UTC)
    made = row(Order(), max_attempts=40_000, scheduled_at=due, tags=("one", "two"), unique=Unique(by_queue=True))
    assert (made.max_attempts, made.scheduled_at, made.tags) == (32767, due, "one,two")


def test_an_args_type_has_options_of_its_own_by_a_method() -> None:
    assert [row(args).queue for args in (Own(), Member(), Order())] == ["own", "default", "default"]


WEST = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    "at",
    [
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=WEST),
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime(9998, 12, 31, 20, tzinfo=WEST),
        datetime(1, 12, 31, tzinfo=UTC),
    ],
)
def test_times_that_not_every_client_reads_are_refused(at: datetime) -> None:
    with pytest.raises(ValidationError, match="use a time of the years 2 to 9998, leave it out for a job that is due at once"):
        row(Order(), scheduled_at=at)
    for taken in (datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=WEST)):
        assert row(Order(), scheduled_at=taken).scheduled_at == taken


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_floats_that_json_has_not_are_refused_with_their_place(number: float) -> None:
    with pytest.raises(ValidationError, match=rf"args of type Order .*: account\.a\.1 is {number}, for which JSON has nothing"):
        encode_args(Order(account={"a": [None, number], "b": 1.5}))
    with pytest.raises(ValidationError, match=f"customer_id is {number}"):
        encode_args(Model(customer_id=number))
    with pytest.raises(ValidationError, match=f"account.1 is {number}"):
        encode_args(Order(account={1: number}))  # type: ignore[dict-item]
    assert encode_args(Order(parts=[None, 1e300])) == '{"customer_id":1,"parts":[null,1e+300],"account":{}}'


def test_a_long_queue_name_is_judged_at_once() -> None:
    """One that a pattern with two ways to match each letter would try in 2^40 ways."""
    with pytest.raises(ValidationError, match=r"joined by single _, - or \|"):
        check_queue("backgroundnotificationsprocessing.eu")
    assert check_queue("a|b_c-d") == "a|b_c-d"
