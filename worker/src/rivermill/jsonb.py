"""Values as JSON that Postgres stores; what it would not is refused where it is given, since outcomes are written later."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rivermill import gojson
from rivermill.errors import ValidationError

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def encode_value(name: str, value: Any) -> bytes:
    """Encode a value as JSON that jsonb can hold.

    Args:
        name: what it is called in an error.
        value: anything that msgspec encodes.

    Raises:
        ValidationError: it cannot be encoded, or has a NUL character or a float that is no number in it.
    """
    try:
        raw = msgspec.json.encode(value)
        if b"null" in raw:  # what msgspec writes for a float that is no number
            # Nothing is known of JSON that the caller has made, which is the one thing that this would not take.
            refuse_nan(msgspec.to_builtins(value, str_keys=True, enc_hook=lambda _: None))
    except (TypeError, ValueError) as error:
        raise ValidationError(f"{name} cannot be encoded as JSON: {error}") from error
    if b"\\u0000" in raw:
        refuse_nul(name, raw.decode())
    return raw


def encode_object(name: str, value: Mapping[str, Any] | str) -> str:
    """Encode a JSON object that jsonb can hold; a text that is one already is taken as it is, with every digit of its numbers.

    Args:
        name: what it is called in an error.
        value: the object.

    Raises:
        ValidationError: it cannot be encoded, is no object, or has a NUL character or half a surrogate pair in it.
    """
    try:
        text = gojson.encode_object(value)
        gojson.refuse_surrogates(text)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"{name} cannot be encoded as a JSON object: {error}") from error
    refuse_nul(name, text)
    return text


def refuse_nan(value: Any, path: str = "") -> None:
    """Raise ValueError if there is a float in plain values for which JSON has nothing; it names the place."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path[1:] or 'it'} is {value}, for which JSON has nothing; leave it out or use None")
    if isinstance(value, dict):
        for key, item in value.items():
            refuse_nan(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            refuse_nan(item, f"{path}.{number}")


def refuse_nul(name: str, text: str) -> None:
    """Raise ValidationError if there is a NUL character in a JSON text."""
    if "\\u0000" in text and _NUL.search(text):
        raise ValidationError(f"{name}: there is a NUL character in it, which Postgres cannot store; leave it out")
