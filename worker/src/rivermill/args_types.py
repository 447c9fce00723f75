"""What an args type says of the JSON of its values: which members there may be, and whether the type can read them again.

pydantic is known by its attributes: a program without it needs none of it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

#: Types whose JSON is no object, so that nothing is inside of it.
_PLAIN = (str, bytes, bytearray, int, float, date, time, timedelta, Decimal, Enum, UUID, types.NoneType)


class Missing(NamedTuple):
    """Where a path leaves what a type has: the place of its first member that is not there, and the names that are."""

    place: int
    names: tuple[str, ...]


@lru_cache(maxsize=4096)
def missing(args_type: type[Any], path: tuple[str, ...]) -> Missing | None:
    """Where a path of names leaves the JSON of a type's values; None where all of it may be there."""
    annotation: Any = args_type
    for place, name in enumerate(path):
        members = _members(annotation)
        if members is None:
            return None
        if name not in members:
            return Missing(place, tuple(sorted(members)))
        annotation = members[name]
    return None


@cache
def attributes(model_type: type[Any]) -> Mapping[str, str]:
    """The attributes of a pydantic model by the names that its JSON has for them."""
    by_alias = model_type.model_config.get("serialize_by_alias")
    fields = {name: info.serialization_alias for name, info in model_type.model_fields.items() if not info.exclude}
    computed = {name: one.info.alias for name, one in model_type.__pydantic_decorators__.computed_fields.items()}
    return {(alias if by_alias and alias else name): name for name, alias in (fields | computed).items()}


def why_unreadable(model_type: type[Any]) -> str | None:
    """Why a pydantic model, or one inside of it, cannot read what its own values are written as; None where it can."""
    return next(filter(None, map(_unreadable, _models(model_type, set()))), None)


def _members(annotation: Any) -> Mapping[str, Any] | None:
    """The members of the JSON of a type's values, each with its type; None where nothing is known of them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return _members_of_any(typing.get_args(annotation))
    cls = origin or annotation
    if not isinstance(cls, type):
        return None
    if issubclass(cls, _PLAIN):
        return {}
    names = _names(cls)
    if names is None:
        return None
    hints = _hints(cls)
    return {name: hints.get(attribute, Any) for name, attribute in names.items()}


def _members_of_any(alternatives: tuple[Any, ...]) -> Mapping[str, Any] | None:
    members: dict[str, Any] = {}
    for alternative in alternatives:
        more = _members(alternative)
        if more is None:
            return None
        members |= {name: Any if name in members else annotation for name, annotation in more.items()}
    return members


def _names(cls: Any) -> Mapping[str, str] | None:
    """The attributes of a class by the names that its JSON has for them; None where any name may be there."""
    if issubclass(cls, msgspec.Struct):
        config = cls.__struct_config__
        if config.array_like:
            return None
        tag = {config.tag_field: ""} if config.tag_field else {}
        return tag | dict(zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True))
    if dataclasses.is_dataclass(cls):
        return {field.name: field.name for field in dataclasses.fields(cls)}
    if _is_model(cls) and cls.model_config.get("extra") != "allow" and not _writes_itself(cls):
        return attributes(cls)
    return None


def _hints(cls: type[Any]) -> Mapping[str, Any]:
    if _is_model(cls):
        return {name: info.annotation for name, info in cls.model_fields.items()}
    try:
        return typing.get_type_hints(cls)
    except (NameError, AttributeError, TypeError):
        return {}  # a name that cannot be resolved, so that nothing is known of what is inside


def _is_model(cls: Any) -> bool:
    return hasattr(cls, "model_fields") and hasattr(cls, "__pydantic_decorators__")


def _writes_itself(model_type: type[Any]) -> bool:
    return bool(model_type.__pydantic_decorators__.model_serializers) or getattr(model_type, "__pydantic_root_model__", False)


def _models(annotation: Any, seen: set[Any]) -> Iterator[Any]:
    """The pydantic models in a type, itself included; of one that waits for a class further down nothing is known yet."""
    for inner in typing.get_args(annotation):
        yield from _models(inner, seen)
    cls: Any = typing.get_origin(annotation) or annotation
    if _is_model(cls) and cls.__pydantic_complete__ and cls not in seen:
        seen.add(cls)
        yield cls
        for info in cls.model_fields.values():
            yield from _models(info.annotation, seen)


def _unreadable(model_type: Any) -> str | None:
    decorators, config = model_type.__pydantic_decorators__, model_type.model_config
    if _writes_itself(model_type) or any(one.info.mode != "after" for one in decorators.model_validators.values()):
        return None  # what it writes or reads is its own affair
    written = {attribute: name for name, attribute in attributes(model_type).items()}
    for field, info in model_type.model_fields.items():
        where = f"field {field!r} of {model_type.__name__}"
        if field not in written and info.is_required():
            return f"{where} has exclude=True and no default, so it is never written and cannot be read: give it a default"
        read = _read_names(field, info.validation_alias, config)
        if field in written and written[field] not in read:
            return (
                f"{where} is written as {written[field]!r} and read as {' or '.join(map(repr, sorted(read))) or 'nothing'}: "
                "give it one name, by model_config = ConfigDict(serialize_by_alias=True) and alias=, or let it be read by "
                "its own, too, by validate_by_name=True"
            )
    if config.get("extra") == "forbid" and decorators.computed_fields:
        names = ", ".join(decorators.computed_fields)
        return f"{model_type.__name__} forbids what it writes itself, {names}: leave out extra='forbid', or make it a property"
    return None


def _read_names(field: str, alias: Any, config: Mapping[str, Any]) -> set[str]:
    """The names by which a pydantic model reads a field."""
    if alias is None:
        return {field}
    paths = [getattr(one, "path", [one]) for one in getattr(alias, "choices", [alias])]
    names = {path[0] for path in paths if len(path) == 1} if config.get("validate_by_alias", True) else set()
    return names | {field} if config.get("validate_by_name") or config.get("populate_by_name") else names
