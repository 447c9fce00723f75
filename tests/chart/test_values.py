"""Values: every key is documented and checked, and a wrong one is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import rivermill
import rivermill_operator
from tests.chart.helm import CHARTS, Helm, Manifest

NAMES = ["rivermill", "rivermill-crds"]


def load(chart: str) -> tuple[Manifest, Manifest]:
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    return values, json.loads((CHARTS / chart / "values.schema.json").read_text())


def objects(schema: Manifest, path: str = "") -> Iterator[tuple[str, Manifest]]:
    """Every subschema that lists properties."""
    if "properties" in schema:
        yield path, schema
        for key, child in schema["properties"].items():
            yield from objects(child, f"{path}.{key}")
    for key, child in schema.get("definitions", {}).items():
        yield from objects(child, f"{path}#{key}")
    if isinstance(schema.get("items"), dict):
        yield from objects(schema["items"], f"{path}[]")


@pytest.mark.parametrize("chart", NAMES)
def test_schema_is_a_valid_draft_7_schema(chart: str) -> None:
    _, schema = load(chart)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("chart", NAMES)
def test_schema_and_values_have_the_same_keys(chart: str) -> None:
    values, schema = load(chart)

    def compare(value: Any, part: Manifest, path: str) -> None:
        if isinstance(value, dict) and "properties" in part:
            assert value.keys() == part["properties"].keys(), path
            for key, child in value.items():
                compare(child, part["properties"][key], f"{path}.{key}")

    compare(values, schema, chart)


@pytest.mark.parametrize("chart", NAMES)
def test_schema_is_closed_and_described(chart: str) -> None:
    _, schema = load(chart)
    for path, part in objects(schema):
        undescribed = [key for key, child in part["properties"].items() if not child.get("description")]
        assert undescribed == [], path
        open_by_design = path == ".global" or path.endswith("extraEnv[]")
        assert open_by_design or part["additionalProperties"] is False, path


@pytest.mark.parametrize("chart", NAMES)
def test_versions_agree(chart: str) -> None:
    meta = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert meta["name"] == chart
    assert meta["apiVersion"] == "v2"
    assert meta["kubeVersion"] == ">=1.29.0-0"
    assert meta["appVersion"] == rivermill_operator.__version__ == rivermill.__version__
    assert meta["version"] == yaml.safe_load((CHARTS / "rivermill" / "Chart.yaml").read_text())["version"]
    images = yaml.safe_load(meta["annotations"].get("artifacthub.io/images", "[]"))
    assert all(image["image"].endswith(":" + meta["appVersion"]) for image in images)


@pytest.mark.parametrize("chart", NAMES)
def test_lint_is_clean(helm: Helm, chart: str) -> None:
    done = helm.run("lint", "--strict", str(CHARTS / chart))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def test_old_kubernetes_is_refused(helm: Helm) -> None:
    done = helm.template({}, "--kube-version", "1.28.9")
    assert done.returncode != 0
    assert ">=1.29.0-0" in done.stderr


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"replicas": 3}, "replicas"),
        ({"image": {"name": "x"}}, "name"),
        ({"replicaCount": "two"}, "replicaCount"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"replicaCount": None}, "replicaCount"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"watchNamespaces": ["Team_A"]}, "watchNamespaces"),
        ({"image": {"digest": "sha256:123"}}, "digest"),
        ({"image": {"tag": "1.0 beta"}}, "tag"),
        ({"image": {"repository": ""}}, "repository"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"imagePullSecrets": ["pull"]}, "imagePullSecrets"),
        ({"log": {"level": "loud"}}, "level"),
        ({"log": {"format": "xml"}}, "format"),
        ({"leaderElection": {"leaseName": "Mine"}}, "leaseName"),
        ({"serviceAccount": {"create": "yes"}}, "create"),
        ({"rbac": {"clusterWide": True}}, "clusterWide"),
        ({"updateStrategy": {"type": "Canary"}}, "type"),
        ({"service": {"port": 80}}, "port"),
        ({"livenessProbe": {"httpGet": {"path": "/"}}}, "httpGet"),
        ({"readinessProbe": {"periodSeconds": 0}}, "periodSeconds"),
        ({"podDisruptionBudget": {"minAvailable": 1}}, "podDisruptionBudget"),
        ({"podDisruptionBudget": {"maxUnavailable": "many"}}, "maxUnavailable"),
        ({"serviceMonitor": {"interval": "often"}}, "interval"),
        ({"networkPolicy": {"postgresPorts": []}}, "postgresPorts"),
        ({"networkPolicy": {"postgresPorts": [70000]}}, "postgresPorts"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"extraEnv": [{"value": "x"}]}, "extraEnv"),
        ({"terminationGracePeriodSeconds": 0}, "terminationGracePeriodSeconds"),
        ({"fullnameOverride": "Not A Name"}, "fullnameOverride"),
    ],
    ids=str,
)
def test_wrong_value_is_refused_by_name(helm: Helm, values: Manifest, key: str) -> None:
    done = helm.template(values)
    assert done.returncode != 0, done.stdout
    assert "schema" in done.stderr
    assert key in done.stderr


def test_crd_chart_has_no_values(helm: Helm) -> None:
    done = helm.template({"crds": {"keep": False}}, chart="rivermill-crds")
    assert done.returncode != 0
    assert "crds" in done.stderr


def test_works_as_a_subchart(helm: Helm) -> None:
    """A parent passes its global values and its condition down, which a closed schema must let through."""
    parent = helm.scratch / "parent"
    (parent / "charts").mkdir(parents=True, exist_ok=True)
    dependencies = [
        {"name": name, "version": "0.1.0", "repository": f"file://{CHARTS / name}", "condition": f"{name}.enabled"}
        for name in NAMES
    ]
    meta = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": dependencies}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(meta))
    updated = helm.run("dependency", "update", str(parent))
    assert updated.returncode == 0, updated.stderr
    shared = "rivermill.enabled=true,rivermill-crds.enabled=true,global.imageRegistry=mirror.example.com,global.other=1"
    done = helm.run("template", "river", str(parent), "--set", shared)
    assert done.returncode == 0, done.stderr
    assert "image: mirror.example.com/rivermill/rivermill-operator:0.1.0" in done.stdout
    off = helm.run("template", "river", str(parent), "--set", "rivermill.enabled=false,rivermill-crds.enabled=false")
    assert (off.returncode, off.stdout.strip()) == (0, ""), off.stderr
