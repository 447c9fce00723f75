"""The generator of the charts' documentation: its output is current, and its refusals say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import chart_docs
from scripts.chart_docs import ChartError, Value

SCHEMA: dict[str, Any] = {
    "properties": {
        "plain": {"type": "string"},
        "section": {"properties": {"inner": {"type": ["integer", "null"]}}},
        "whole": {"type": "object"},
        "shared": {"$ref": "#/definitions/probe"},
    },
    "definitions": {"probe": {"type": "object", "properties": {"period": {"type": "integer"}}}},
}
VALUES = """\
# About the file.

# First line,
# second line.
plain: "a | b"
# A section.
section:
  # An inner key.
  inner: 3
# A whole map.
whole: {a: 1}
# A probe.
shared:
  period: 5
"""


def read(source: str) -> list[Value]:
    return list(chart_docs.read_values(source, SCHEMA, "values.yaml"))


def test_generated_files_are_current() -> None:
    assert chart_docs.outdated(chart_docs.generated_files()) == []


def test_values_are_read() -> None:
    assert read(VALUES) == [
        Value(("plain",), "First line, second line.", '"a | b"'),
        Value(("section",), "A section.", None),
        Value(("section", "inner"), "An inner key.", "3"),
        Value(("whole",), "A whole map.", '{"a": 1}'),
        Value(("shared",), "A probe.", '{"period": 5}'),
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("plain: a\n", "plain has no comment"),
        ("# about the file\n\nplain: a\n", "plain has no comment"),
        ("# a\nsection:\n  inner: 1\n", "section.inner has no comment"),
        ("# a\nother: 1\n", "other is not in values.schema.json"),
        ("- a\n", "must be a map"),
    ],
)
def test_wrong_values_are_refused(source: str, words: str) -> None:
    with pytest.raises(ChartError, match=words):
        read(source)


def test_table() -> None:
    rows = chart_docs.render_table(read(VALUES), SCHEMA).splitlines()[2:]
    assert rows == [
        '| `plain` | string | `"a \\| b"` | First line, second line. |',
        "| **`section`** | | | A section. |",
        "| `section.inner` | integer or null | `3` | An inner key. |",
        '| `whole` | object | `{"a": 1}` | A whole map. |',
        '| `shared` | object | `{"period": 5}` | A probe. |',
    ]


def test_descriptions_are_stable() -> None:
    once = chart_docs.describe(SCHEMA, read(VALUES))
    assert once["properties"]["section"]["properties"]["inner"]["description"] == "An inner key."
    assert once["properties"]["shared"] == {"description": "A probe.", "allOf": [{"$ref": "#/definitions/probe"}]}
    assert chart_docs.describe(once, read(VALUES)) == once
    assert chart_docs.render_table(read(VALUES), once) == chart_docs.render_table(read(VALUES), SCHEMA)


@pytest.mark.parametrize("readme", ["none", chart_docs.BEGIN, chart_docs.END + chart_docs.BEGIN * 2])
def test_readme_without_markers_is_refused(readme: str) -> None:
    with pytest.raises(ChartError, match=r"README\.md: needs the lines"):
        chart_docs.render_readme(readme, "table", "README.md")


def test_crd_text_cannot_be_a_template() -> None:
    source = "---\nkind: X\nmetadata:\n  name: x\nspec:\n  text: 'uses {{ braces }}'\n"
    rendered = chart_docs.render_crd(source, "x.yaml")
    assert 'text: \'uses {{ "{{" }} braces {{ "}}" }}\'' in rendered
    assert "\n---" not in rendered


def test_crd_with_own_annotations_is_refused() -> None:
    source = yaml.safe_dump({"metadata": {"name": "x", "annotations": {"a": "b"}}})
    with pytest.raises(ChartError, match=r"x\.yaml: metadata\.annotations"):
        chart_docs.render_crd(source, "x.yaml")


def test_stale_template_is_noticed(tmp_path: Path) -> None:
    templates = tmp_path / "charts" / "rivermill-crds" / "templates"
    templates.mkdir(parents=True)
    (templates / "gone.yaml").write_text("")
    wanted = tmp_path / "README.md"
    assert chart_docs.outdated({wanted: "x"}, tmp_path) == ["README.md", "charts/rivermill-crds/templates/gone.yaml"]
