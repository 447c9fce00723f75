"""The generator of the reference of the JobQueue resource; that its output is current is asked in ``test_chart_docs``."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scripts import resource_docs
from scripts.chart_docs import ROOT, generated_files
from scripts.resource_docs import Field, ResourceError

SCHEMA: dict[str, Any] = {
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "description": "How big.", "minimum": 1, "maximum": 9},
        "part": {
            "type": "object",
            "description": "A part.",
            "default": {},
            "properties": {"mode": {"type": "string", "description": "A | B.", "enum": ["A", "B"], "default": "A"}},
        },
        "names": {
            "type": "array",
            "description": "Names.",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "name": {
                        "type": "string",
                        "description": "A name.",
                        "maxLength": 3,
                        "x-kubernetes-validations": [{"rule": "true", "message": "must be good"}],
                    }
                },
            },
        },
    },
}


def test_fields_are_read() -> None:
    assert list(resource_docs.read_fields(SCHEMA, "spec")) == [
        Field("spec.size", "integer", None, True, ("1 to 9",), "How big."),
        Field("spec.part", "object", None, False, (), "A part."),
        Field("spec.part.mode", "string", '"A"', False, ("`A`, `B`",), "A | B."),
        Field("spec.names", "list of objects", None, False, ("1 or more items",), "Names."),
        Field("spec.names[].name", "string", None, False, ("up to 3 characters", "must be good"), "A name."),
    ]


def test_tables() -> None:
    fields = list(resource_docs.read_fields(SCHEMA, "spec"))[:3]
    assert resource_docs.render_spec(iter(fields)).splitlines()[2:] == [
        "| `spec.size` | integer | **required** | 1 to 9 | How big. |",
        "| `spec.part` | object | | | A part. |",
        '| `spec.part.mode` | string | `"A"` | `A`, `B` | A \\| B. |',
    ]
    assert resource_docs.render_status(iter(fields)).splitlines()[2] == "| `spec.size` | integer | How big. |"


def test_columns_that_have_to_be_asked_for_are_marked() -> None:
    columns = [{"name": "Mode", "jsonPath": ".spec.mode"}, {"name": "Queues", "jsonPath": ".status.queues", "priority": 1}]
    assert resource_docs.render_columns({"additionalPrinterColumns": columns}).splitlines()[3:] == [
        "| Mode | `.spec.mode` |",
        "| Queues | `.status.queues` With `-o wide`. |",
    ]


def test_a_field_without_description_is_refused() -> None:
    with pytest.raises(ResourceError, match=r"spec\.a: has no description"):
        list(resource_docs.read_fields({"properties": {"a": {"type": "string"}}}, "spec"))


def test_a_page_without_markers_is_refused() -> None:
    version = {"schema": {"openAPIV3Schema": {"properties": {"spec": {}, "status": {}}}}, "additionalPrinterColumns": []}
    with pytest.raises(ResourceError, match=r"page\.md: needs the lines"):
        resource_docs.render_page("none", {"spec": {"versions": [version]}}, "page.md")


def test_the_page_is_generated() -> None:
    page = generated_files()[ROOT / "docs" / "jobqueue.md"]
    assert "| `spec.scaling.maxReplicas` | integer | **required** |" in page
    assert "| `status.conditions` |" in page
    assert "| Waiting | `.status.backlog.waiting` Due jobs that no worker has claimed" in page


def test_the_page_names_every_reason() -> None:
    operator = ROOT / "operator" / "src" / "rivermill_operator"
    files = ("plan/reasons.py", "control/observe.py", "store/connection.py", "store/reader.py", "store/database.py")
    sources = {name: (operator / name).read_text() for name in files}
    views = (operator / "control" / "views.py").read_text()
    reasons = {
        *re.findall(r'reason="(\w+)"', sources["plan/reasons.py"]),
        *re.findall(r'return "(\w+)", ', sources["plan/reasons.py"]),
        *(reason for text in sources.values() for reason in re.findall(r'StoreError\("(\w+)"', text)),
        *re.findall(r', "([A-Z]\w+)"\)', sources["store/connection.py"]),
        *re.findall(r'"([A-Z]\w+)"', views[views.index("_TROUBLE = ") : views.index("# fmt: skip")]),
    }
    assert {"AsDesired", "SecretNotFound", "WriteRefused", "DatabaseError", "AuthenticationFailed"} <= reasons
    page = (ROOT / "docs" / "jobqueue.md").read_text()
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
