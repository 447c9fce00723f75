"""Typed args: a dataclass, ``msgspec.Struct`` or pydantic model with ``kind: ClassVar[str]``, to and from JSON."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from rivermill.errors import ArgsDecodeError, ValidationError

_KIND = re.compile(r"[\w][\w\-\[\]<>\/.·:+]+")
_MAX_KIND = 127


def kind_of(args: Any) -> str:
    """The kind of an args value or type.

    Raises:
        ValidationError: there is no usable ``kind`` attribute.
    """
    kind = getattr(args, "kind", None)
    owner = args if isinstance(args, type) else type(args)
    if not isinstance(kind, str):
        raise ValidationError(f'args type {owner.__name__}: add `kind: ClassVar[str] = "..."`, the name of the job')
    return kind


def check_kind(kind: str) -> str:
    """Return ``kind`` if River accepts it for a registered worker.

    Raises:
        ValidationError: it has a character River refuses, or is shorter than 2 or longer than 127 characters.
    """
    if not _KIND.fullmatch(kind) or len(kind) > _MAX_KIND:
        raise ValidationError(
            f"kind {kind!r}: use 2 to {_MAX_KIND} letters, digits, underscores or any of -[]<>/.·:+, "
            "starting with a letter, digit or underscore"
        )
    return kind


def encode_args(args: Any) -> str:
    """Encode an args value as the JSON object that ``river_job.args`` stores.

    Raises:
        ValidationError: the value cannot be encoded, or is not an object.
    """
    dump = getattr(args, "model_dump_json", None)
    try:
        text: str = dump() if dump is not None else msgspec.json.encode(args).decode()
    except (TypeError, ValueError) as error:
        raise ValidationError(f"args of type {type(args).__name__} cannot be encoded as JSON: {error}") from error
    if not text.startswith("{"):
        raise ValidationError(f"args of type {type(args).__name__} must encode to a JSON object, not {text[:20]}")
    if "\\u0000" in text:
        raise ValidationError(f"args of type {type(args).__name__} hold a NUL character, which Postgres cannot store")
    return text


def decode_args(args_type: type[Any], raw: bytes | str) -> Any:
    """Decode stored args into ``args_type``; unknown members are ignored, as in Go.

    Raises:
        ArgsDecodeError: the text is not JSON or does not fit the type.
    """
    validate = getattr(args_type, "model_validate_json", None)
    try:
        if validate is not None:
            return validate(raw)
        return msgspec.json.decode(raw, type=args_type)
    except ValueError as error:
        raise ArgsDecodeError(f"args do not fit {args_type.__name__}: {error}") from error
