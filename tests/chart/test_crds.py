"""The CRD chart is crds/, kept on uninstall."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill import ValidationError
from rivermill.insert_rows import check_queue
from rivermill_operator.model.cron import Cron, CronError
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


def patterns(path: str) -> list[re.Pattern[str]]:
    """What a text at this path has to match, each of them."""
    (node,) = (node for found, node in spec_nodes() if found == path)
    rules = " ".join(rule["rule"] for rule in node["x-kubernetes-validations"])
    return [re.compile(pattern) for pattern in re.findall(r"self\.matches\('(.*?)'\)", rules)]


def passes(path: str, text: str) -> bool:
    found = patterns(path)
    assert found
    return all(pattern.search(text) for pattern in found)


CRON = "spec.scaling.schedules[].cron"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("30 7 * * 1-5", True),
        ("*/15 0,12-14,23 1-31/2 */3 0,7", True),
        ("00  08 01 12 7", True),
        ("0 25 * * *", False),
        ("60 0 * * *", False),
        ("0 24 * * *", False),
        ("0 0 0 * *", False),
        ("0 0 32 * *", False),
        ("0 0 * 13 *", False),
        ("0 0 * * 8", False),
        ("0 0 * * MON", False),
        ("*/0 * * * *", False),
        ("0 0 * *", False),
        ("0 0 * * * *", False),
        ("@daily", False),
    ],
)
def test_times_that_never_come_are_refused_when_they_are_written(text: str, *, good: bool) -> None:
    assert passes(CRON, text) is good


_NUMBER = st.integers(0, 99).map(str) | st.integers(0, 9).map("0{}".format)
_PART = st.one_of(st.just("*"), _NUMBER, st.builds("{}-{}".format, _NUMBER, _NUMBER), st.builds("*/{}".format, _NUMBER))
_FIELD = st.lists(_PART, min_size=1, max_size=2).map(",".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(_FIELD, min_size=5, max_size=5).map(" ".join))
def test_what_the_operator_understands_can_be_written(text: str) -> None:
    try:
        Cron.parse(text)
    except CronError:
        return
    assert passes(CRON, text)


@pytest.mark.parametrize(
    ("path", "text", "good"),
    [
        ("spec.worker.shutdownTimeout", "1h30m", True),
        ("spec.worker.shutdownTimeout", "1.5s", True),
        ("spec.worker.shutdownTimeout", "5 minutes", False),
        ("spec.worker.pollInterval", "1", False),
        ("spec.scaling.scaleIn.maxStep", "25%", True),
        ("spec.scaling.scaleIn.maxStep", "0", False),
        ("spec.rollout.maxSurge", "1.5", False),
        ("spec.database.urlSecretRef.name", "library-db.v1", True),
        ("spec.database.urlSecretRef.name", "Library_db", False),
        # It would be a part of a path.
        ("spec.database.urlSecretRef.name", "../../other/secrets/db", False),
        ("spec.database.urlSecretRef.key", "database.URL_1", True),
        ("spec.database.urlSecretRef.key", "a/b", False),
    ],
)
def test_texts_have_their_form(path: str, text: str, *, good: bool) -> None:
    assert passes(path, text) is good


@pytest.mark.parametrize(
    "text", ["default", "high_priority", "a-b", "a|b", "9", "a|b-c_d", "a__b", "a|", "-a", "A", "a b", "a,b", "a:b"]
)
def test_queues_have_the_names_that_workers_take(text: str) -> None:
    try:
        check_queue(text)
    except ValidationError:
        assert not passes("spec.queues[].name", text)
    else:
        assert passes("spec.queues[].name", text)
