"""What ``docs/worker.md`` says of Go's structs: each kind of args type can have the JSON that a Go program stores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest

from rivermill.args import check_names, decode_args, encode_args

# Of a Go struct with AccountID string, At time.Time, Data []byte, Note *string and Wait time.Duration, each with a tag.
STORED = '{"account_id":"a1","at":"2026-01-02T03:04:05.6Z","data":"+/8=","note":null,"wait":1500000000}'
AT, DATA, WAIT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC), b"\xfb\xff", 1_500_000_000


@dataclass
class Plain:
    kind: ClassVar[str] = "pay"
    account_id: str
    at: datetime
    data: bytes
    note: str | None
    wait: int


class Struct(msgspec.Struct):
    kind: ClassVar[str] = "pay"
    account: str = msgspec.field(name="account_id")
    at: datetime
    data: bytes
    note: str | None
    wait: int


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    kind: ClassVar[str] = "pay"
    account: str = pydantic.Field(alias="account_id")
    at: datetime
    data: str  # pydantic's own base64 of bytes has another alphabet than Go's
    note: str | None
    wait: int


@pytest.mark.parametrize(
    "args",
    [
        Plain("a1", AT, DATA, None, WAIT),
        Struct("a1", AT, DATA, None, WAIT),
        Model(account_id="a1", at=AT, data="+/8=", note=None, wait=WAIT),
    ],
    ids=lambda args: type(args).__name__,
)
def test_the_json_is_that_of_go(args: Any) -> None:
    assert encode_args(args) == STORED
    assert decode_args(type(args), STORED) == args
    check_names("by_args", [("account_id",)], args, STORED)


class Omitting(msgspec.Struct, omit_defaults=True):
    kind: ClassVar[str] = "pay"
    full: bool = False
    size: int = 0


def test_omitempty() -> None:
    assert encode_args(Omitting()) == "{}"
    assert encode_args(Omitting(full=True)) == '{"full":true}'
