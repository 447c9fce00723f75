"""What args types that cannot work are refused for, and which members of nested ones there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
import pydantic
import pytest
from pydantic.alias_generators import to_camel

from rivermill import ConfigError, Job, ValidationError, Workers
from rivermill.args import check_names, decode_args, encode_args
from rivermill.args_types import missing

T = TypeVar("T")
AT = datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC)


class Account(msgspec.Struct, rename="camel", tag="account"):
    account_id: int = 1
    notes: dict[str, str] = {}


class Base(pydantic.BaseModel):
    id: int = 1


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    account_id: int = pydantic.Field(1, alias="accountId")
    secret_at: datetime = pydantic.Field(AT, alias="secretAt")
    hidden: int = pydantic.Field(1, exclude=True)
    base: Base = pydantic.Field(default_factory=Base, alias="theBase")

    @pydantic.computed_field(alias="twiceIt")
    def twice(self) -> int:
        return 2 * self.account_id


class Listed(msgspec.Struct, array_like=True, frozen=True):
    id: int = 1


@dataclass
class Boxed(Generic[T]):
    inside: T


class Itself(pydantic.BaseModel):
    @pydantic.model_serializer
    def write(self) -> dict[str, int]:
        return {"anything": 1}


class Order(msgspec.Struct):
    kind: ClassVar[str] = "order"
    account: Account
    either: Account | Base | None = None
    model: Annotated[Aliased, "note"] = msgspec.field(default_factory=Aliased)
    number: int | None = None
    at: datetime = AT
    parts: list[Account] = []
    listed: Listed = Listed()
    boxed: Boxed[Account] | None = None
    itself: Itself | None = None
    free: Any = None
    parent: Order | None = None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("account.accountId", None),
        ("account.type", None),
        ("account.notes.any.thing", None),
        ("account.account_id", (1, ("accountId", "notes", "type"))),
        ("either.id", None),
        ("either.accountId", None),
        ("either.idd", (1, ("accountId", "id", "notes", "type"))),
        ("model.accountId", None),
        ("model.account_id", (1, ("accountId", "secretAt", "theBase", "twiceIt"))),
        ("model.hidden", (1, ("accountId", "secretAt", "theBase", "twiceIt"))),
        ("model.theBase.id", None),
        ("model.theBase.idd", (2, ("id",))),
        ("number.x", (1, ())),
        ("at.year", (1, ())),
        ("parts.id", None),
        ("listed.id", None),
        ("boxed.inside.id", None),
        ("boxed.outside", (1, ("inside",))),
        ("itself.anything", None),
        ("free.as.air", None),
        ("parent.parent.account.accountId", None),
        ("parent.parent.acount", (2, tuple(sorted(Order.__struct_fields__)))),
    ],
)
def test_members(path: str, found: tuple[int, tuple[str, ...]] | None) -> None:
    assert missing(Order, tuple(path.split("."))) == found


@dataclass
class Later:
    kind: ClassVar[str] = "later"
    thing: NotThereYet | None = None  # type: ignore[name-defined]  # noqa: F821


def test_a_name_that_cannot_be_resolved_hides_what_is_inside_and_nothing_else() -> None:
    assert missing(Later, ("thing", "any")) is None
    assert missing(Later, ("thin",)) == (0, ("thing",))
    Workers().work(worker_of(Later))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "account.accountID",
            r"^by_args 'account.accountID': did you mean 'account.accountId'\? The JSON of Order has account\.",
        ),
        ("number.x.y", "^by_args 'number.x': The JSON of Order has no members in number$"),
    ],
)
def test_wrong_nested_paths_are_named_whole(path: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        check_names("by_args", [tuple(path.split("."))], Order(Account()), '{"account":{"accountId":1},"number":1}')


def test_a_member_that_the_value_has_is_taken_whatever_its_type_says() -> None:
    @dataclass
    class More(Boxed[int]):
        more: int = 1

    @dataclass
    class Holder:
        boxed: Boxed[int] = field(default_factory=lambda: More(1))

    check_names("by_args", [("boxed", "more")], Holder(), encode_args(Holder()))
    with pytest.raises(ValidationError, match=r"'boxed\.less': The JSON of Holder has boxed\.inside"):
        check_names("by_args", [("boxed", "less")], Holder(), encode_args(Holder()))


def worker_of(args_type: type[Any]) -> Callable[..., Any]:
    async def work(job: Any) -> None: ...

    work.__annotations__ = {"job": Job[args_type]}  # type: ignore[valid-type]
    return work


class Mixed(Enum):
    ONE = 1
    TWO = "two"


@dataclass
class HasMixed:
    kind: ClassVar[str] = "mixed"
    mixed: Mixed = Mixed.ONE


class PlainClass:
    kind: ClassVar[str] = "plain"


def model(name: str = "Model", config: Any = None, **fields: Any) -> type[Any]:
    made: type[Any] = pydantic.create_model(name, __config__=config, **fields)
    made.kind = "model"
    return made


ALIAS = (int, pydantic.Field(alias="accountId"))
Config = pydantic.ConfigDict


class Forbids(pydantic.BaseModel, extra="forbid"):
    kind: ClassVar[str] = "forbids"

    @pydantic.computed_field
    def twice(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("args_type", "said"),
    [
        (HasMixed, "args of type HasMixed could never be decoded: Enums must contain either all str or all int"),
        (PlainClass, "args of type PlainClass could never be decoded: it is no dataclass, msgspec.Struct or pydantic model"),
    ],
)
def test_types_that_could_never_be_decoded_are_refused_where_their_worker_is_registered(args_type: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Workers().work(worker_of(args_type))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("args_type", "said"),
    [
        (
            model(account_id=ALIAS),
            "field 'account_id' of Model is written as 'account_id' and read as 'accountId': give it one",
        ),
        (model(account_id=(int, pydantic.Field(1, alias="accountId"))), "written as 'account_id' and read as 'accountId'"),
        (
            model(account_id=(int, pydantic.Field(serialization_alias="x")), config=Config(serialize_by_alias=True)),
            "as 'x' and",
        ),
        (
            model(x=(int, pydantic.Field(validation_alias=pydantic.AliasChoices("a", pydantic.AliasPath("b", 0))))),
            "read as 'a'",
        ),
        (model(inner=(list[model("Inner", account_id=ALIAS)] | None, None)), "field 'account_id' of Inner"),  # type: ignore[misc]
        (model(x=(int, pydantic.Field(exclude=True))), "field 'x' of Model has exclude=True and no default"),
        (
            model(account_id=(int, 1), config=Config(alias_generator=to_camel)),
            "written as 'account_id' and read as 'accountId'",
        ),
        (Forbids, "Forbids forbids what it writes itself, twice: leave out extra='forbid'"),
    ],
)
def test_models_that_could_not_read_themselves_work_jobs_of_others_and_are_not_inserted(
    args_type: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    Workers().work(worker_of(args_type))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "works jobs of others only: Python inserts no args of type" in record.getMessage()
    assert said in record.getMessage()
    for _ in range(2):
        with pytest.raises(ValidationError, match="could not be read again: ") as caught:
            encode_args(args_type.model_construct())
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("args_type", "stored", "read"),
    [
        (model(account_id=ALIAS), '{"accountId":1}', {"account_id": 1}),
        (model(x=(int, pydantic.Field(exclude=True))), '{"x":1}', {"x": 1}),
        (Forbids, "{}", {}),
    ],
)
def test_what_others_have_written_for_such_models_is_decoded(args_type: Any, stored: str, read: dict[str, int]) -> None:
    args = decode_args(args_type, stored)
    assert {name: getattr(args, name) for name in args_type.model_fields} == read


class Repairs(pydantic.BaseModel):
    account_id: int = pydantic.Field(alias="accountId")

    @pydantic.model_validator(mode="before")
    @classmethod
    def repair(cls, value: Any) -> Any:
        return {"accountId": value["account_id"]}


@pytest.mark.parametrize(
    "args_type",
    [
        model(account_id=ALIAS, config=Config(serialize_by_alias=True)),
        model(account_id=ALIAS, config=Config(populate_by_name=True)),
        model(account_id=ALIAS, config=Config(validate_by_name=True)),
        model(account_id=(int, pydantic.Field(serialization_alias="x"))),
        model(x=(int, pydantic.Field(validation_alias=pydantic.AliasChoices("x", "y")))),
        model(x=(int, pydantic.Field(1, exclude=True))),
        Repairs,
    ],
)
def test_types_that_can_be_decoded_are_taken(args_type: Any, caplog: pytest.LogCaptureFixture) -> None:
    args_type.kind = "model"
    Workers().work(worker_of(args_type))
    assert caplog.records == []
    fields = {
        info.validation_alias if isinstance(info.validation_alias, str) else name: 1
        for name, info in args_type.model_fields.items()
    }
    args = args_type(**({"account_id": 1} if args_type is Repairs else fields))
    assert decode_args(args_type, encode_args(args)) == args


def test_a_time_under_an_alias_is_gos() -> None:
    text = '{"accountId":1,"secretAt":"2026-01-02T03:04:05.12Z","theBase":{"id":1},"twiceIt":2}'
    assert encode_args(Aliased()) == text


class Waiting(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel, serialize_by_alias=True)

    kind: ClassVar[str] = "waiting"
    account_id: int = 1
    inner: AsYetUnknown | None = None


def test_a_model_that_waits_for_a_class_further_down_is_taken() -> None:
    assert not Waiting.__pydantic_complete__
    Workers().work(worker_of(Waiting))
    Waiting.model_rebuild()
    assert encode_args(Waiting()) == '{"accountId":1,"inner":null}'
    assert missing(Waiting, ("account_id",)) == (0, ("accountId", "inner"))
    assert missing(Waiting, ("inner", "at_last")) is None


class WaitingInVain(pydantic.BaseModel, alias_generator=to_camel):
    kind: ClassVar[str] = "in_vain"
    account_id: int = 1
    inner: AsYetUnknown | None = None


def test_what_is_not_known_of_a_model_when_it_is_registered_is_told_at_its_insert(caplog: pytest.LogCaptureFixture) -> None:
    Workers().work(worker_of(WaitingInVain))
    assert caplog.records == []
    WaitingInVain.model_rebuild()
    with pytest.raises(ValidationError, match="could not be read again: field 'account_id' of WaitingInVain is written as"):
        encode_args(WaitingInVain())


class AsYetUnknown(pydantic.BaseModel):
    at_last: int = 1


class Secretive(pydantic.BaseModel):
    token: pydantic.SecretStr
    more: list[pydantic.SecretBytes] = []


class Revealing(pydantic.BaseModel):
    token: pydantic.SecretStr

    @pydantic.field_serializer("token")
    def write(self, token: pydantic.SecretStr) -> str:
        return token.get_secret_value()


def test_secrets_are_not_stored_as_asterisks() -> None:
    for args in (Secretive(token="s"), Secretive(token="", more=[b"x"])):  # type: ignore[arg-type, list-item]
        with pytest.raises(ValidationError, match=r"of a Secret\w+ nothing but \*{10} would be stored: leave the secret out"):
            encode_args(args)
    assert encode_args(Revealing(token="s")) == '{"token":"s"}'  # type: ignore[arg-type]
