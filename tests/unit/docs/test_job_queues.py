"""JobQueues that pages show can be applied: by the schema of the custom resource, and by what the operator reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from rivermill_operator.model.parse import parse_job_queue
from tests.documents import ROOT, Block, fenced


def shown() -> Iterator[tuple[Block, dict[str, Any]]]:
    for block in fenced("yaml"):
        for found in yaml.safe_load_all(block.text):
            if found["kind"] == "JobQueue":
                yield block, found


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that refuses fields it does not name, which the API server would drop."""
    changed = dict(schema)
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        changed["properties"] = {name: strict(node) for name, node in schema["properties"].items()}
        changed["additionalProperties"] = False
    if "items" in schema:
        changed["items"] = strict(schema["items"])
    return changed


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    definition = yaml.safe_load((ROOT / "crds" / "rivermill.dev_jobqueues.yaml").read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    return strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])


@pytest.mark.parametrize(("block", "body"), list(shown()), ids=str)
def test_job_queues_that_pages_show_are_valid(block: Block, body: dict[str, Any], spec: dict[str, Any]) -> None:
    assert body["apiVersion"] == "rivermill.dev/v1alpha1"
    jsonschema.Draft202012Validator(spec).validate(body["spec"])
    parse_job_queue({**body, "metadata": {"namespace": "default", "uid": "1", **body["metadata"]}})


def test_pages_show_some() -> None:
    assert {block.page.name for block, _ in shown()} >= {"README.md", "install.md", "moving-from-keda.md"}


def test_a_field_that_is_not_known_is_refused(spec: dict[str, Any]) -> None:
    _, body = next(shown())
    with pytest.raises(jsonschema.ValidationError, match="maxReplica'"):
        jsonschema.Draft202012Validator(spec).validate({**body["spec"], "scaling": {"maxReplicas": 1, "maxReplica": 1}})
