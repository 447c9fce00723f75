"""What the operator's chart renders, value by value."""

from __future__ import annotations

from collections import Counter
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.helm import CHARTS, Helm, Manifest, kinds, one, pod_of
from tests.chart.variants import VARIANTS

FOREIGN_KINDS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
SELECTOR = {"app.kubernetes.io/name": "rivermill-operator", "app.kubernetes.io/instance": "river"}
RBAC = ["ClusterRole"] * 3 + ["ClusterRoleBinding", "Role", "RoleBinding"]


def container_of(manifests: list[Manifest]) -> Manifest:
    (container,) = pod_of(manifests)["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def variables(manifests: list[Manifest]) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container_of(manifests)["env"]}


@pytest.mark.parametrize("version", ["1.29.0", "1.37.0"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_kubernetes_knows_every_field(helm: Helm, variant: str, version: str) -> None:
    manifests = [m for m in helm.render(VARIANTS[variant], "--kube-version", version) if m["kind"] not in FOREIGN_KINDS]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_objects_are_labelled_and_in_a_namespace(helm: Helm, variant: str) -> None:
    for manifest in helm.render(VARIANTS[variant]):
        if manifest["kind"] == "ConfigMap":
            continue  # one of extraObjects, which are the user's own
        meta = manifest["metadata"]
        assert SELECTOR.items() <= meta["labels"].items()
        assert meta["labels"]["app.kubernetes.io/version"] == "0.1.0"
        assert meta["labels"]["helm.sh/chart"] == "rivermill-0.1.0"
        cluster_scoped = manifest["kind"].startswith("ClusterRole")
        assert ("namespace" in meta) is not cluster_scoped


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_object_is_there_twice(helm: Helm, variant: str) -> None:
    manifests = helm.render(VARIANTS[variant])
    found = Counter((m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests)
    assert set(found.values()) == {1}


def test_default_objects(helm: Helm) -> None:
    expected = sorted([*RBAC, "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"])
    assert kinds(helm.render({})) == expected


def test_deployment_by_default(helm: Helm) -> None:
    manifests = helm.render({})
    spec = one(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["selector"] == {"matchLabels": SELECTOR}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "river-rivermill"
    assert pod["automountServiceAccountToken"] is True
    assert one(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    container = container_of(manifests)
    assert container["image"] == "ghcr.io/rivermill/rivermill-operator:0.1.0"
    assert container["args"] == ["run"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert variables(manifests) == {
        "RIVERMILL_WATCH_NAMESPACES": "",
        "RIVERMILL_LEASE_NAME": "river-rivermill",
        "RIVERMILL_HTTP_PORT": "8080",
        "RIVERMILL_LOG_LEVEL": "info",
        "RIVERMILL_LOG_FORMAT": "json",
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_NAMESPACE": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }


@pytest.mark.parametrize("replicas", [0, 1, 2, 3])
def test_spread_and_budget_need_two_replicas(helm: Helm, replicas: int) -> None:
    manifests = helm.render({"replicaCount": replicas})
    assert ("PodDisruptionBudget" in kinds(manifests)) is (replicas > 1)
    spread = pod_of(manifests)["spec"].get("topologySpreadConstraints", [])
    assert [s["topologyKey"] for s in spread] == (
        ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] if replicas > 1 else []
    )
    assert all(s["labelSelector"]["matchLabels"] == SELECTOR for s in spread)


def test_budget(helm: Helm) -> None:
    default = one(helm.render({}), "PodDisruptionBudget")["spec"]
    percent = one(helm.render(VARIANTS["budget by percentage"]), "PodDisruptionBudget")["spec"]
    assert default["maxUnavailable"] == 1
    assert "minAvailable" not in default
    assert percent["minAvailable"] == "50%"
    assert "maxUnavailable" not in percent
    assert default["selector"]["matchLabels"] == SELECTOR
    assert "PodDisruptionBudget" not in kinds(helm.render(VARIANTS["no budget"]))


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({"image": {"tag": "dev"}}, "ghcr.io/rivermill/rivermill-operator:dev"),
        ({"image": {"registry": "", "repository": "op", "tag": "1"}}, "op:1"),
        ({"global": {"imageRegistry": "mirror:5000"}}, "mirror:5000/rivermill/rivermill-operator:0.1.0"),
        (
            {"image": {"tag": "dev", "digest": "sha256:" + "0" * 64}},
            "ghcr.io/rivermill/rivermill-operator@sha256:" + "0" * 64,
        ),
    ],
    ids=["tag", "no registry", "mirror", "digest"],
)
def test_image(helm: Helm, values: Manifest, image: str) -> None:
    assert container_of(helm.render(values))["image"] == image


def test_selector_never_changes(helm: Helm) -> None:
    """A Deployment's selector is immutable: no value that an upgrade may change can reach it."""
    hostile = {"app.kubernetes.io/name": "other", "app.kubernetes.io/instance": "other"}
    values = {
        "commonLabels": {"team": "media", **hostile},
        "podLabels": {"tier": "control", **hostile},
        "image": {"tag": "2"},
        "fullnameOverride": "else",
    }
    manifests = helm.render(values)
    assert one(manifests, "Deployment")["spec"]["selector"] == {"matchLabels": SELECTOR}
    labels = pod_of(manifests)["metadata"]["labels"]
    assert {**SELECTOR, "team": "media", "tier": "control"}.items() <= labels.items()
    assert one(manifests, "Service")["spec"]["selector"] == SELECTOR


def test_own_variables_cannot_be_replaced(helm: Helm) -> None:
    """Kubernetes lets the last of two variables of one name win."""
    extra = [{"name": "RIVERMILL_LEASE_NAME", "value": "stolen"}, {"name": "OTHER", "value": "1"}]
    found = variables(helm.render({"extraEnv": extra}))
    assert found["RIVERMILL_LEASE_NAME"] == "river-rivermill"
    assert found["OTHER"] == "1"


def test_watched_namespaces_reach_the_operator(helm: Helm) -> None:
    manifests = helm.render({"watchNamespaces": ["team-b", "team-a", "team-b"]})
    assert variables(manifests)["RIVERMILL_WATCH_NAMESPACES"] == "team-b,team-a"


def test_port_is_the_same_everywhere(helm: Helm) -> None:
    manifests = helm.render({"service": {"port": 9090}})
    assert variables(manifests)["RIVERMILL_HTTP_PORT"] == "9090"
    assert container_of(manifests)["ports"] == [{"name": "http", "containerPort": 9090, "protocol": "TCP"}]
    (port,) = one(manifests, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (9090, "http")


def test_recreate_brings_no_rolling_update(helm: Helm) -> None:
    assert one(helm.render(VARIANTS["recreate"]), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_service_monitor(helm: Helm) -> None:
    monitor = one(helm.render(VARIANTS["monitored"]), "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"] == {"matchLabels": SELECTOR}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["honorLabels"]) == ("http", "/metrics", True)
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "10s")
    assert endpoint["relabelings"]
    assert endpoint["metricRelabelings"]


def test_network_policy(helm: Helm) -> None:
    policy = one(helm.render(VARIANTS["network policy"]), "NetworkPolicy")["spec"]
    assert policy["podSelector"] == {"matchLabels": SELECTOR}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert [sorted({p["port"] for p in rule["ports"]}) for rule in policy["egress"]] == [[53], [443, 5432, 6432, 6443]]
    narrow = one(helm.render(VARIANTS["network policy with peers"]), "NetworkPolicy")["spec"]
    assert narrow["ingress"][0]["from"]
    assert [p["port"] for p in narrow["egress"][1]["ports"]] == [6443, 5433]
    assert narrow["egress"][2] == {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}


def test_extensions(helm: Helm) -> None:
    manifests = helm.render(VARIANTS["extended"])
    assert {m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"} == {"river-map", "river-text"}
    container = container_of(manifests)
    assert container["envFrom"] == [{"configMapRef": {"name": "more"}}]
    assert {"name": "ca", "mountPath": "/ca", "readOnly": True} in container["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "ca"}} in pod_of(manifests)["spec"]["volumes"]


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("river", {}, "river-rivermill"),
        ("rivermill", {}, "rivermill"),
        ("my-rivermill-prod", {}, "my-rivermill-prod"),
        ("river", {"nameOverride": "op"}, "river-op"),
        ("river", {"fullnameOverride": "op"}, "op"),
        ("r" * 53, {}, "r" * 52),
        ("r" * 51, {}, "r" * 51),
        ("r" * 40, {"nameOverride": "o" * 54}, "r" * 40 + "-" + "o" * 11),
    ],
)
def test_names_stay_within_kubernetes_limits(helm: Helm, release: str, values: Manifest, name: str) -> None:
    manifests = helm.render(values, release=release)
    assert one(manifests, "Deployment")["metadata"]["name"] == name
    for manifest in manifests:
        assert len(manifest["metadata"]["name"]) <= 63 or manifest["kind"].startswith("ClusterRole")
        assert all(len(str(value)) <= 63 for value in manifest["metadata"]["labels"].values())


@pytest.mark.parametrize(
    ("values", "words", "warnings"),
    [
        ({}, "JobQueues in all namespaces", 1),
        ({}, "does not know JobQueue yet", 1),
        ({"replicaCount": 1}, "with one replica nobody", 2),
        ({"rbac": {"create": False}}, "rbac.create is false", 2),
        ({"watchNamespaces": ["team-a", "team-b"]}, "JobQueues in: team-a, team-b.", 1),
    ],
    ids=["defaults", "no crd", "one replica", "no rbac", "namespaces"],
)
def test_notes(helm4: Helm, values: Manifest, words: str, warnings: int) -> None:
    """Without a cluster helm knows no JobQueue, so that warning is always there; the installation test sees it go."""
    file = helm4.scratch / "notes.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm4.run("install", "river", str(CHARTS / "rivermill"), "--dry-run=client", "-f", str(file))
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:")[1]
    assert words in notes
    assert notes.count("WARNING") == warnings
