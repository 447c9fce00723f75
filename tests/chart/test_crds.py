"""The CRD chart is crds/, kept on uninstall."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import yaml

from tests.chart.helm import ROOT, Helm

CRDS = sorted((ROOT / "crds").glob("*.yaml"))


def test_chart_equals_the_source(helm: Helm) -> None:
    assert CRDS
    rendered = {m["metadata"]["name"]: m for m in helm.render({}, chart="rivermill-crds")}
    sources: dict[str, Any] = {}
    for file in CRDS:
        document = yaml.safe_load(file.read_text())
        sources[document["metadata"]["name"]] = document
    assert rendered.keys() == sources.keys()
    for name, manifest in rendered.items():
        bare = copy.deepcopy(manifest)
        assert bare["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert bare["metadata"].pop("labels") == {
            "app.kubernetes.io/part-of": "rivermill",
            "helm.sh/chart": "rivermill-crds-0.1.0",
        }
        assert bare == sources[name]


def test_kubernetes_knows_every_field(helm: Helm) -> None:
    for manifest in helm.render({}, chart="rivermill-crds"):
        kubernetes_validate.validate(manifest, "1.37.0", strict=True)


def nodes(schema: Any, path: str = "spec") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below one, with its path."""
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def spec_nodes() -> list[tuple[str, dict[str, Any]]]:
    (version,) = yaml.safe_load((ROOT / "crds" / "rivermill.dev_jobqueues.yaml").read_text())["spec"]["versions"]
    return list(nodes(version["schema"]["openAPIV3Schema"]["properties"]["spec"]))


def test_a_bound_with_a_fraction_is_a_rule_too() -> None:
    """The API server cuts it down to a whole number where the value is one: 0 would pass a minimum of 0.1."""
    found = []
    for path, node in spec_nodes():
        for bound, sign in (("minimum", ">="), ("maximum", "<=")):
            if node.get(bound, 0) % 1:
                found.append(path)
                assert f"self {sign} {node[bound]}" in [rule["rule"] for rule in node.get("x-kubernetes-validations", ())], path
    assert found == ["spec.queues[].targetWaitSeconds", "spec.queues[].expectedJobSeconds"]
