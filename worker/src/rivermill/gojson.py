"""JSON text exactly as Go's ``encoding/json`` writes it, which is what River hashes for unique keys and stores as args.

It differs from Python's in floats (``1`` for ``1.0``, exponents only below 1e-6 and from 1e21 on), in escaping ``<``, ``>``,
``&`` and the two Unicode line separators, and in times (RFC 3339 with ``Z`` and no trailing zeros).
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

_HTML = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"},
)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SMALLEST_PLAIN, _SMALLEST_EXPONENT = 1e-6, 1e21


def encode(value: Any) -> str:
    """Encode plain values: mappings in their own order, sequences, texts, bytes (in base64), numbers, booleans, None and times.

    Raises:
        TypeError: a value, or a mapping's key, is none of these.
        ValueError: a float is NaN or infinite.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    for kind in (Mapping, bool, str, int, float, datetime, bytes, bytearray, Sequence):
        if isinstance(value, kind):
            return _ENCODERS[kind](value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def encode_object(value: Mapping[str, Any] | str) -> str:
    """Encode a mapping; a text that is a JSON object already is taken as it is, with every digit of its numbers.

    Raises:
        TypeError: the mapping holds something that has no JSON form.
        ValueError: a float is NaN or infinite, or the text is not a JSON object.
    """
    if not isinstance(value, str):
        return encode(dict(value))
    found = json.loads(value, parse_constant=_refuse_constant)
    if not isinstance(found, dict):
        raise ValueError("the text is not a JSON object")  # noqa: TRY004 - of the right type, with the wrong contents
    if _SURROGATE.search(value):
        refuse_surrogates(json.dumps(found, ensure_ascii=False))
    return value


def refuse_surrogates(text: str) -> None:
    """Raise ValueError if half a surrogate pair is in a text, as the names of files can have one: it cannot be sent."""
    text.encode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def add_members(text: str, members: Mapping[str, Any]) -> str:
    """The text of a JSON object with members at its end, which win over others of their names in ``jsonb``."""
    return merge(text, encode(members))


def merge(text: str, more: str) -> str:
    """The text of a JSON object with the members of another at its end, which win over others of their names in ``jsonb``."""
    start, end = text.strip().removesuffix("}").rstrip(), more.strip().removeprefix("{").lstrip()
    separator = "" if start == "{" or end == "}" else ","
    return f"{start}{separator}{end}"


def encode_time(value: datetime) -> str:
    """A time as Go's ``time.Time`` writes itself: ``2026-01-02T03:04:05.12Z``, without quotes."""
    text = value.replace(tzinfo=None).isoformat()
    if value.microsecond:
        text = text.rstrip("0")
    offset = value.utcoffset()
    if offset is None:
        return text
    if not offset:
        return text + "Z"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{text}{'-' if offset < timedelta(0) else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def now() -> str:
    """The present moment as ``encode_time`` writes it."""
    return encode_time(datetime.now(UTC))


def encode_str(text: str) -> str:
    """A quoted JSON string with Go's escapes."""
    return json.dumps(text, ensure_ascii=False).translate(_HTML)


def _encode_float(value: float) -> str:
    text = json.dumps(value, allow_nan=False)
    if value and not _SMALLEST_PLAIN <= abs(value) < _SMALLEST_EXPONENT:
        return re.sub(r"(?:\.0)?e([+-])0?", r"e\1", text)
    mantissa, _, exponent = text.partition("e")
    if exponent:
        return _shift(mantissa, int(exponent))
    return mantissa.removesuffix(".0")


def _shift(mantissa: str, places: int) -> str:
    """Write ``mantissa`` times ten to the power ``places`` without an exponent."""
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    if places < 0:
        return f"{sign}0.{'0' * (-places - len(whole))}{whole}{fraction}"
    return f"{sign}{whole}{fraction.ljust(places, '0')}"


def _encode_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"an object's key must be text, not {key!r}")
    return encode_str(key)


def _encode_mapping(value: Mapping[Any, Any]) -> str:
    return "{" + ",".join(f"{_encode_key(key)}:{encode(item)}" for key, item in value.items()) + "}"


def _encode_bytes(value: bytes | bytearray) -> str:
    return f'"{b64encode(value).decode()}"'


_ENCODERS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
    str: encode_str,
    int: int.__repr__,
    float: _encode_float,
    datetime: lambda value: f'"{encode_time(value)}"',
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    dict: _encode_mapping,
    Mapping: _encode_mapping,
    list: lambda value: "[" + ",".join(map(encode, value)) + "]",
    Sequence: lambda value: "[" + ",".join(map(encode, value)) + "]",
}
