"""The generated parts of ``docs/jobqueue.md``: every field of spec and status, and the printer columns, from the CRD."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SPEC_HEAD = "| field | type | default | bounds | what it is |\n|---|---|---|---|---|"
STATUS_HEAD = "| field | type | what it is |\n|---|---|---|"
COLUMNS_HEAD = "| column | shows |\n|---|---|"


class ResourceError(ValueError):
    """The CRD or the page is not what the generator can work with; the message says where."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; ``default`` is None where there is none."""

    path: str
    kind: str
    default: str | None
    required: bool
    bounds: tuple[str, ...]
    description: str


def read_fields(schema: Mapping[str, Any], path: str) -> Iterator[Field]:
    """The fields below ``path``, parents before children; items of a list are under ``path[]``.

    Raises:
        ResourceError: a field has no description.
    """
    required = schema.get("required", ())
    for name, node in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if "description" not in node:
            raise ResourceError(f"{here}: has no description; write in crds/ what it does")
        yield Field(here, _kind(node), _default(node), name in required, tuple(_bounds(node)), node["description"])
        yield from read_fields(node, here)
        # What a condition is made of is Kubernetes', and said nowhere in the CRD.
        if node.get("type") == "array" and name != "conditions":
            yield from read_fields(node["items"], f"{here}[]")


def _kind(node: Mapping[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(node.get("type", "any"))
    return f"list of {_kind(node['items'])}s" if kind == "array" else kind


def _default(node: Mapping[str, Any]) -> str | None:
    return json.dumps(node["default"]) if node.get("default") not in (None, {}, []) else None


def _bounds(node: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in node:
        yield ", ".join(f"`{value}`" for value in node["enum"])
    yield from _range(node.get("minimum"), node.get("maximum"), "")
    yield from _range(node.get("minLength"), node.get("maxLength"), " characters")
    yield from _range(node.get("minItems"), node.get("maxItems"), " items")
    if "pattern" in node:
        yield f"`{node['pattern']}`"
    for rule in node.get("x-kubernetes-validations", ()):
        yield str(rule["message"])


def _range(low: Any, high: Any, unit: str) -> Iterator[str]:
    if low is not None and high is not None:
        yield f"{low} to {high}{unit}"
    elif low is not None:
        yield f"{low} or more{unit}"
    elif high is not None:
        yield f"up to {high}{unit}"


def render_spec(fields: Iterator[Field]) -> str:
    """The table of ``spec``."""
    rows = [SPEC_HEAD]
    for field in fields:
        default = "**required**" if field.required else "" if field.default is None else f"`{field.default}`"
        cells = (f"`{field.path}`", field.kind, default, "; ".join(field.bounds), field.description)
        rows.append("|" + "|".join(f" {_cell(cell)} " if cell else " " for cell in cells) + "|")
    return "\n".join(rows)


def render_status(fields: Iterator[Field]) -> str:
    """The table of ``status``."""
    rows = [STATUS_HEAD]
    rows += [f"| `{field.path}` | {field.kind} | {_cell(field.description)} |" for field in fields]
    return "\n".join(rows)


def render_columns(version: Mapping[str, Any]) -> str:
    """The table of what ``kubectl get`` prints."""
    rows = [COLUMNS_HEAD, "| Name | the object's name |"]
    for column in version["additionalPrinterColumns"]:
        text = f" {column['description']}" if "description" in column else ""
        text += " With `-o wide`." if column.get("priority") else ""
        rows.append(f"| {column['name']} | `{_cell(column['jsonPath'])}`{text} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def render_page(page: str, crd: Mapping[str, Any], name: str) -> str:
    """``page`` with the tables between their markers.

    Raises:
        ResourceError: a marker is missing or there twice, or a field has no description.
    """
    (version,) = crd["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    tables = {
        "spec": render_spec(read_fields(properties["spec"], "spec")),
        "status": render_status(read_fields(properties["status"], "status")),
        "columns": render_columns(version),
    }
    for part, table in tables.items():
        begin, end = f"<!-- {part}:begin (written by `make chart` from crds/) -->", f"<!-- {part}:end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ResourceError(
                f"{name}: needs the lines {begin!r} and {end!r} once each, so that the table can go between them"
            )
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return page
