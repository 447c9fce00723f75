"""A value of the wrong type in a pod template, as the API server tells it of its own code → as the user wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rivermill_operator.model.template import shown

_WRONG = re.compile(
    r"json: cannot unmarshal (\w+)(?: (\S+))? into Go struct field \w+\.spec\.template\.([\w.]+) of type ([\w.*\[\]]+)"
)
_KINDS = {"string": "a text", "number": "a number", "bool": "true or false", "array": "a list", "object": "an object"}
_WANTED = {"string": "a text", "bool": "true or false"}

_Place = tuple[str, Any]


def type_as_written(text: str, given: Any) -> str:
    """Name the field and what it must be, where the API server names a type of its own.

    Args:
        text: what the API server said of a Deployment.
        given: ``spec.worker.template``; what is not in it stays as it was told.
    """
    return _WRONG.sub(lambda found: _written(found[1], found[2], found[3].split("."), found[4], given) or found[0], text)


def _written(got: str, literal: str | None, keys: list[str], go_type: str, given: Any) -> str | None:
    # A number that is quoted is wrong for its value, and others of the same field may be right.
    places = (place for place in _misfits(got, keys, given) if literal is None or json.dumps(place[1]) == literal)
    place = next(places, None)
    if place is None:
        return None
    path, value = place
    wanted = _wanted(got, value, go_type)
    way_out = f": write {json.dumps(json.dumps(value))}" if wanted == "must be a text" and got in ("number", "bool") else ""
    return f"spec.worker.template{path}: {wanted}, not {json.dumps(value) if got == 'bool' else shown(value)}{way_out}"


def _misfits(got: str, keys: list[str], given: Any) -> Iterator[_Place]:
    """Every value of this JSON type along the path, which tells no indexes, nor keys of maps."""
    places: Iterable[_Place] = [("", given)]
    for key in keys:
        items = [item for place in places for item in _items(place)]
        places = [(f"{path}.{key}", value[key]) for path, value in items if isinstance(value, Mapping) and key in value]
    for path, value in places:
        inner = (
            [(f"{path}.{key}", each) for key, each in value.items()] if isinstance(value, Mapping) else _items((path, value))
        )
        yield from (found for found in [(path, value), *inner] if _kind(found[1]) == got)


def _items(place: _Place) -> list[_Place]:
    path, value = place
    return [(f"{path}[{index}]", each) for index, each in enumerate(value)] if isinstance(value, list) else [place]


def _kind(value: Any) -> str:
    # True is a number to Python, and no number to the API server.
    kinds = (("bool", bool), ("number", (int, float)), ("string", str), ("array", list), ("object", Mapping))
    return next((kind for kind, types in kinds if isinstance(value, types)), "null")


def _wanted(got: str, value: Any, go_type: str) -> str:
    kind = go_type.lstrip("*")
    if kind.startswith("[]"):
        return "must be a list"
    if re.fullmatch(r"u?int\d*", kind):
        return f"must be a whole number{f' that fits {kind}' if got == 'number' and isinstance(value, int) else ''}"
    # Of named types those that are texts take a text.
    if kind.startswith("map[") or ("." in kind and got == "string"):
        return "must be an object"
    return f"must be {_WANTED[kind]}" if kind in _WANTED else f"must be something else than {_KINDS.get(got, got)}"
