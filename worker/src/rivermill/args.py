"""Typed args: a dataclass, ``msgspec.Struct`` or pydantic model with ``kind: ClassVar[str]``, to and from JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec

from rivermill import gojson
from rivermill.args_types import attributes, missing, why_unreadable
from rivermill.errors import ArgsDecodeError, ValidationError
from rivermill.jsonb import refuse_nan, refuse_nul

#: Go's ``\w`` is ASCII, here and in tags.
_KIND = re.compile(r"[\w][\w\-\[\]<>\/.·:+]+", re.ASCII)
MAX_KIND = 127
_STORED_KIND = re.compile(rf"[^\0\ud800-\udfff]{{1,{MAX_KIND}}}")
_ENCODER = msgspec.json.Encoder(order="deterministic")
#: What msgspec may have written otherwise than Go: escapes, floats and times. All of them begin with one set of characters, to
#: the next of which the search then skips.
_UNLIKE_GO = re.compile(r"[<>&\u2028\u2029\\:,\[T](?:(?<=[<>&\u2028\u2029\\])|(?<=[:,\[])-?\d+[.eE]|(?<=\dT)\d\d:\d\d)")
#: What pydantic writes for any secret.
_MASK = "**********"
_decoders: dict[type[Any], Callable[[bytes | str], Any]] = {}
_encoders: dict[type[Any], Callable[[Any], str]] = {}


def kind_of(args: Any) -> str:
    """The kind of an args value or type.

    Raises:
        ValidationError: there is no usable ``kind`` attribute.
    """
    kind = getattr(args, "kind", None)
    if not isinstance(kind, str):
        owner = args if isinstance(args, type) else type(args)
        if isinstance(args, Mapping) or owner.__module__ == "builtins":
            also = "; options go with it as InsertParams(args, opts)" if isinstance(args, tuple) else ""
            raise ValidationError(
                f"args {str(args)[:60]!r}: pass a value of an args type, such as a dataclass that has a `kind`{also}"
            )
        raise ValidationError(f'args type {owner.__name__}: add `kind: ClassVar[str] = "..."`, the name of the job')
    return kind


def check_kind(kind: str, what: str = "kind") -> str:
    """Return ``kind`` if River accepts it for a registered worker.

    Args:
        kind: the name.
        what: what it is called in an error.

    Raises:
        ValidationError: it has a character River refuses, or is shorter than 2 or longer than 127 characters.
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or len(kind) > MAX_KIND:
        raise ValidationError(
            f"{what} {kind!r}: use 2 to {MAX_KIND} ASCII letters, digits, underscores or any of -[]<>/.·:+, "
            "starting with a letter, digit or underscore"
        )
    return kind


@lru_cache(maxsize=1024)
def check_stored_kind(kind: str) -> str:
    """Return ``kind`` if the database takes it; a worker's has to keep to more (``check_kind``).

    Raises:
        ValidationError: it is empty, longer than 127 characters, or has a character in it that Postgres cannot store.
    """
    if not _STORED_KIND.fullmatch(kind):
        raise ValidationError(f"kind {kind[: MAX_KIND + 1]!r}: use 1 to {MAX_KIND} characters, none of them NUL or a surrogate")
    return kind


def encode_args(args: Any) -> str:
    """Encode an args value as the JSON object that ``river_job.args`` stores: byte for byte as Go would encode it.

    Fields come in the order of their declaration and the text keys of dictionaries sorted, as in Go; unique keys depend
    on it. Dictionaries with other keys keep their order. NaN and infinite floats are refused, as in Go.

    Raises:
        ValidationError: the value cannot be encoded, is not an object, or is of a pydantic model that could not read it again.
    """
    encode = _encoders.get(args.__class__) or _new_encoder(args.__class__)
    try:
        text = encode(args)
    except (TypeError, ValueError) as error:
        refuse_type(args)
        raise ValidationError(f"args of type {type(args).__name__} cannot be encoded as JSON: {error}") from error
    if not text.startswith("{"):
        raise ValidationError(f"args of type {type(args).__name__} must encode to a JSON object, not {text[:20]}")
    if "\\u0000" in text:
        refuse_nul(f"args of type {type(args).__name__}", text)
    return text


def _new_encoder(args_type: type[Any]) -> Callable[[Any], str]:
    # Looked at once: of a type that has values, no class is waited for any more.
    if reason := why_unreadable(args_type):
        raise ValidationError(f"args of type {args_type.__name__} could not be read again: {reason}")
    return _encoders.setdefault(args_type, _encode_model if hasattr(args_type, "model_dump") else _encode_plain)


def refuse_type(args: Any) -> None:
    """Raise ValidationError if an args type was given in the place of a value of it."""
    if isinstance(args, type):
        raise ValidationError(f"args {args.__name__} is a type: pass a value of it, {args.__name__}(...)")


def check_names(what: str, paths: Iterable[tuple[str, ...]], args: Any, encoded: str) -> None:
    """Refuse to select members of args that neither their type nor the value itself has; absent ones would count as equal.

    What is said of a type is remembered: a row costs a look at that.

    Args:
        what: the option's name.
        paths: the members, by their names in the JSON.
        args: the args, of any type; nothing is known of the members of some.
        encoded: the args as ``encode_args`` gives them.

    Raises:
        ValidationError: there is none of that name.
    """
    for path in paths:
        gone = missing(args.__class__, path)
        if gone is None or _has(json.loads(encoded), path):
            continue
        names = {name: ".".join((*path[: gone.place], name)) for name in (*gone.names, path[gone.place])}
        named = names.pop(path[gone.place])
        near = get_close_matches(path[gone.place], names, 1)
        hint = f"did you mean {names[near[0]]!r}? " if near else ""
        there = ", ".join(names.values()) or f"no members{' in ' if gone.place else ''}{'.'.join(path[: gone.place])}"
        raise ValidationError(f"{what} {named!r}: {hint}The JSON of {type(args).__name__} has {there}")


def _has(value: Any, path: Iterable[str]) -> bool:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def _encode_plain(args: Any) -> str:
    try:
        text = _ENCODER.encode(args).decode()
    except TypeError:  # msgspec sorts no dictionary whose keys are not texts
        plain = msgspec.to_builtins(args, builtin_types=(datetime,), str_keys=True)
        refuse_nan(plain)
        return gojson.encode(plain)
    if "null" in text:  # what msgspec writes for a float that is no number
        refuse_nan(msgspec.to_builtins(args, str_keys=True))
    if _UNLIKE_GO.search(text):
        plain = msgspec.to_builtins(args, builtin_types=(datetime,), str_keys=True, order="deterministic")
        return gojson.encode(plain)
    return text


def _encode_model(model: Any) -> str:
    dumped = model.model_dump(mode="json")
    refuse_nan(dumped)
    return gojson.encode(_like_source(dumped, model))


def _like_source(value: Any, source: Any) -> Any:
    """Give a pydantic model's dump back what Go's form depends on: which objects are dictionaries and which texts times."""
    if isinstance(source, datetime) and isinstance(value, str):
        return source
    if value == _MASK and hasattr(source, "get_secret_value"):
        raise ValueError(
            f"of a {type(source).__name__} nothing but {_MASK} would be stored: leave the secret out, since who reads the "
            "table reads args, or write it by a @field_serializer"
        )
    if isinstance(value, dict):
        if isinstance(source, Mapping):
            return {key: _like_source(value[key], source.get(key)) for key in sorted(value)}
        names = attributes(source.__class__) if hasattr(source, "model_dump") else {}
        return {key: _like_source(item, getattr(source, names.get(key, key), None)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(source, (list, tuple)) and len(value) == len(source):
        return [_like_source(*pair) for pair in zip(value, source, strict=True)]
    return value


def decode_args(args_type: type[Any], raw: bytes | str) -> Any:
    """Decode stored args into ``args_type``; unknown members are ignored, as in Go.

    Raises:
        ArgsDecodeError: the text is not JSON or does not fit the type, or the type's own validation raises anything.
    """
    return (_decoders.get(args_type) or args_decoder(args_type))(raw)


def args_decoder(args_type: type[Any]) -> Callable[[bytes | str], Any]:
    """``decode_args`` for one type."""
    decoder: Callable[[bytes | str], Any] | None = None

    def decode(raw: bytes | str) -> Any:
        nonlocal decoder
        try:
            if decoder is None:  # it may need classes that its module defines further down
                decoder = _new_decoder(args_type)
            return decoder(raw)
        except Exception as error:
            raise ArgsDecodeError(f"args do not fit {args_type.__name__}: {error}") from error

    return _decoders.setdefault(args_type, decode)


def why_undecodable(args_type: type[Any]) -> str | None:
    """Why no JSON can be decoded into a type; None where some can, as far as is known before.

    A pydantic model may read what others write, such as Go, even if it could not read what it writes itself.
    """
    if hasattr(args_type, "model_validate_json"):
        return None
    try:
        _new_decoder(args_type)
    except NameError:
        return None  # of a class that its module defines further down
    except (TypeError, ValueError) as error:
        return str(error)
    if isinstance(msgspec.inspect.type_info(args_type), msgspec.inspect.CustomType):
        return "it is no dataclass, msgspec.Struct or pydantic model: make it one"
    return None


def _new_decoder(args_type: type[Any]) -> Callable[[bytes | str], Any]:
    return getattr(args_type, "model_validate_json", None) or msgspec.json.Decoder(args_type).decode
