"""The CRD chart is crds/, kept on uninstall."""

from __future__ import annotations

import copy
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
