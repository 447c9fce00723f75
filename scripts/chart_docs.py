"""Write the generated parts of the charts and of the reference, or with ``--check`` say which of them are out of date.

Generated are: the templates of ``charts/rivermill-crds`` and the tables of ``docs/jobqueue.md`` from ``crds/``; and, from the
comments in each ``values.yaml``, the table of values in ``README.md`` and the descriptions in ``values.schema.json`` (its
checks are written by hand).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.resource_docs import ResourceError, render_page

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- values:begin (written by `make chart` from the comments in values.yaml) -->"
END = "<!-- values:end -->"
CRD_HEADER = "{{- /* Written by `make chart` from crds/; change it there. */ -}}\n"
KEEP = "helm.sh/resource-policy: keep"
LABELS = {"app.kubernetes.io/part-of": "rivermill", "helm.sh/chart": '{{ printf "%s-%s" .Chart.Name .Chart.Version }}'}


class ChartError(ValueError):
    """A chart's sources contradict each other; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Value:
    """One documented key; ``default`` is None for a section, whose keys follow."""

    path: tuple[str, ...]
    description: str
    default: str | None


def comment_above(lines: list[str], line: int, indent: int) -> str:
    """The comment paragraph that ends directly above ``line`` and is indented like it, as one line of text."""
    words: list[str] = []
    for text in reversed(lines[:line]):
        if not text.startswith(" " * indent + "#"):
            break
        words.insert(0, text.strip().lstrip("#").strip())
    return " ".join(words)


def read_values(source: str, schema: Mapping[str, Any], name: str) -> Iterator[Value]:
    """The documented keys of one ``values.yaml``; a map is a section where the schema lists its keys.

    Raises:
        ChartError: a key has no comment, or the schema does not know it.
    """
    lines = source.splitlines()

    def walk(node: yaml.MappingNode, spec: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Value]:
        for key, child in node.value:
            here = (*path, str(key.value))
            dotted = ".".join(here)
            known = spec.get("properties", {}).get(key.value)
            if known is None:
                raise ChartError(f"{name}: {dotted} is not in values.schema.json; add it there with its type")
            text = comment_above(lines, key.start_mark.line, key.start_mark.column)
            if not text:
                raise ChartError(f"{name}: {dotted} has no comment; write directly above it what it does")
            if isinstance(child, yaml.MappingNode) and child.value and "properties" in known:
                yield Value(here, text, None)
                yield from walk(child, known, here)
            else:
                default = yaml.safe_load(yaml.serialize(child))
                yield Value(here, text, json.dumps(default, ensure_ascii=False))

    root = yaml.compose(source)
    if not isinstance(root, yaml.MappingNode):
        raise ChartError(f"{name}: the document must be a map")
    yield from walk(root, schema, ())


def value_type(schema: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """The type that the schema gives to the key at ``path``, references followed, for people."""
    node: Any = schema
    for key in path:
        node = node["properties"][key]
        reference = node.get("$ref") or node.get("allOf", [{}])[0].get("$ref")
        if reference:
            node = schema["definitions"][reference.rsplit("/", 1)[1]]
    kind = node.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def render_table(values: list[Value], schema: Mapping[str, Any]) -> str:
    """The table for ``README.md``; sections are rows without type and default."""
    rows = ["| key | type | default | what it does |", "|---|---|---|---|"]
    for value in values:
        name, text = ".".join(value.path), value.description.replace("|", "\\|")
        if value.default is None:
            rows.append(f"| **`{name}`** | | | {text} |")
        else:
            default = value.default.replace("|", "\\|")
            rows.append(f"| `{name}` | {value_type(schema, value.path)} | `{default}` | {text} |")
    return "\n".join(rows)


def describe(schema: dict[str, Any], values: list[Value]) -> dict[str, Any]:
    """The schema with the descriptions of ``values``; a ``$ref`` is wrapped, since draft 7 ignores what stands beside it."""
    described: dict[str, Any] = json.loads(json.dumps(schema))
    for value in values:
        parent = described
        for key in value.path[:-1]:
            parent = parent["properties"][key]
        node = parent["properties"][value.path[-1]]
        if "$ref" in node:
            node = {"allOf": [{"$ref": node["$ref"]}]}
        parent["properties"][value.path[-1]] = {"description": value.description} | {
            key: part for key, part in node.items() if key != "description"
        }
    return described


def render_readme(readme: str, table: str, name: str) -> str:
    """``readme`` with ``table`` between its two markers."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ChartError(f"{name}: needs the lines {BEGIN!r} and {END!r} once each, so that the table can go between them")
    head, rest = readme.split(BEGIN)
    return f"{head}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def render_crd(source: str, name: str) -> str:
    """A CRD as a Helm template that an uninstall keeps.

    Raises:
        ChartError: the CRD brings annotations or labels of its own, which this would write a second time.
    """
    document = yaml.safe_load(source)
    if {"annotations", "labels"} & document["metadata"].keys():
        raise ChartError(f"{name}: metadata.annotations and metadata.labels are written by this program; remove them")
    escaped = re.sub(r"\{\{|\}\}", lambda match: '{{ "' + match.group() + '" }}', source)
    labels = "".join(f"    {key}: {value}\n" for key, value in LABELS.items())
    block = f"metadata:\n  annotations:\n    {KEEP}\n  labels:\n{labels}"
    rendered, count = re.subn(r"^metadata:\n", lambda _: block, escaped, count=1, flags=re.MULTILINE)
    if count != 1:
        raise ChartError(f"{name}: needs a line `metadata:` at the left margin")
    return CRD_HEADER + rendered.removeprefix("---\n")


def generated_files(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file with the text it should have."""
    files: dict[Path, str] = {}
    for chart in sorted((root / "charts").iterdir()):
        name = str((chart / "values.yaml").relative_to(root))
        schema = json.loads((chart / "values.schema.json").read_text())
        values = list(read_values((chart / "values.yaml").read_text(), schema, name))
        described = describe(schema, values)
        files[chart / "values.schema.json"] = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
        table = render_table(values, schema)
        files[chart / "README.md"] = render_readme((chart / "README.md").read_text(), table, f"charts/{chart.name}/README.md")
    for crd in sorted((root / "crds").glob("*.yaml")):
        target = root / "charts" / "rivermill-crds" / "templates" / crd.name
        files[target] = render_crd(crd.read_text(), f"crds/{crd.name}")
    page = root / "docs" / "jobqueue.md"
    resource = yaml.safe_load((root / "crds" / "rivermill.dev_jobqueues.yaml").read_text())
    files[page] = render_page(page.read_text(), resource, "docs/jobqueue.md")
    return files


def outdated(files: Mapping[Path, str], root: Path = ROOT) -> list[str]:
    """What differs from ``files``, with CRD templates that no file in ``crds/`` accounts for."""
    templates = set((root / "charts" / "rivermill-crds" / "templates").glob("*.yaml"))
    wrong = {path for path, text in files.items() if not path.exists() or path.read_text() != text}
    return sorted(str(path.relative_to(root)) for path in wrong | (templates - files.keys()))


def main() -> int:
    """Write the files.

    Returns:
        0 when all is current; 1 when ``--check`` found a difference; 2 when a source is wrong.
    """
    parser = argparse.ArgumentParser(description="Write the generated parts of the charts and of the reference.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something is out of date")
    options = parser.parse_args()
    try:
        files = generated_files()
    except (ChartError, ResourceError) as error:
        sys.stderr.write(f"chart_docs: {error}\n")
        return 2
    wrong = outdated(files)
    if options.check:
        sys.stderr.writelines(f"chart_docs: {path} is out of date; run `make chart`\n" for path in wrong)
        return 1 if wrong else 0
    for path in wrong:
        target = ROOT / path
        if target in files:
            target.write_text(files[target])
        else:
            target.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
