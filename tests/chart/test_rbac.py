"""The operator gets exactly the rights it uses, where it uses them, and users the rights their roles suggest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.helm import Helm, Manifest, one

Right = tuple[str, str, str, str]
EVERYWHERE = {
    ("rivermill.dev", "jobqueues"): "get list watch patch",
    ("rivermill.dev", "jobqueues/status"): "get patch",
    ("rivermill.dev", "jobqueues/scale"): "get",
    ("apps", "deployments"): "get list watch create patch delete",
    ("apps", "deployments/scale"): "get patch",
    ("policy", "poddisruptionbudgets"): "create patch delete",
    ("", "pods"): "get list watch patch",
    ("", "secrets"): "get",
    ("", "events"): "create patch",
    ("events.k8s.io", "events"): "create patch",
    ("autoscaling", "horizontalpodautoscalers"): "get list watch",
}
WATCHED: set[Right] = {(group, resource, verb, "") for (group, resource), verbs in EVERYWHERE.items() for verb in verbs.split()}
CRD: set[Right] = {("apiextensions.k8s.io", "customresourcedefinitions", "get", "jobqueues.rivermill.dev")}


def leases(name: str) -> set[Right]:
    own = {("coordination.k8s.io", "leases", verb, name) for verb in ("get", "update", "patch")}
    return own | {("coordination.k8s.io", "leases", "create", "")}


def rights(role: Manifest) -> set[Right]:
    return {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def granted(manifests: list[Manifest], account: str, namespace: str) -> dict[str, set[Right]]:
    """What the account may do, by namespace; "*" is the whole cluster. Only roles that are really bound count."""
    found: dict[str, set[Right]] = {}
    roles = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]): m for m in manifests if "rules" in m}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    for binding in (m for m in manifests if m["kind"] in {"RoleBinding", "ClusterRoleBinding"}):
        assert binding["subjects"] == [subject]
        reference, where = binding["roleRef"], binding["metadata"].get("namespace")
        assert reference["apiGroup"] == "rbac.authorization.k8s.io"
        role = roles[reference["kind"], where if reference["kind"] == "Role" else None, reference["name"]]
        found.setdefault(where or "*", set()).update(rights(role))
    return found


def test_cluster_wide(helm: Helm) -> None:
    found = granted(helm.render({}), "river-rivermill", "mill")
    assert found == {"*": WATCHED | CRD, "mill": leases("river-rivermill")}


def test_per_namespace(helm: Helm) -> None:
    manifests = helm.render({"watchNamespaces": ["team-a", "team-b", "team-a"]})
    assert granted(manifests, "river-rivermill", "mill") == {
        "*": CRD,
        "team-a": WATCHED,
        "team-b": WATCHED,
        "mill": leases("river-rivermill"),
    }


def test_release_namespace_may_be_watched(helm: Helm) -> None:
    found = granted(helm.render({"watchNamespaces": ["mill"]}), "river-rivermill", "mill")
    assert found == {"*": CRD, "mill": WATCHED | leases("river-rivermill")}


def test_lease_name_is_the_one_that_may_be_changed(helm: Helm) -> None:
    found = granted(helm.render({"leaderElection": {"leaseName": "mine"}}), "river-rivermill", "mill")
    assert found["mill"] == leases("mine")


def test_foreign_account_is_bound(helm: Helm) -> None:
    values: Manifest = {"serviceAccount": {"create": False, "name": "ready-made"}}
    manifests = helm.render(values)
    assert granted(manifests, "ready-made", "mill")["*"] == WATCHED | CRD
    assert not [m for m in manifests if m["kind"] == "ServiceAccount"]


def test_roles_can_be_left_to_others(helm: Helm) -> None:
    manifests = helm.render({"rbac": {"create": False, "aggregateClusterRoles": False}})
    assert not [m for m in manifests if "rules" in m or "roleRef" in m]


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["team-a"]}])
def test_nothing_is_a_wildcard(helm: Helm, values: dict[str, Any]) -> None:
    for role in (m for m in helm.render(values) if "rules" in m):
        for right in rights(role):
            assert "*" not in "".join(right), right


def test_users_roles_aggregate(helm: Helm) -> None:
    manifests = helm.render({})
    view, edit = (one(manifests, "ClusterRole", f"mill:river-rivermill:{name}") for name in ("view", "edit"))
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    marks = [
        {key.removeprefix(prefix) for key in role["metadata"]["labels"] if key.startswith(prefix)} for role in (view, edit)
    ]
    assert marks == [{"view", "edit", "admin"}, {"edit", "admin"}]
    assert {verb for _, _, verb, _ in rights(view)} == {"get", "list", "watch"}
    changing = {"create", "update", "patch", "delete", "deletecollection"}
    assert {verb for _, resource, verb, _ in rights(edit) if resource == "jobqueues"} == changing
    assert "jobqueues/status" not in {resource for _, resource, _, _ in rights(edit)}


def test_cluster_scoped_names_differ_between_namespaces(helm: Helm) -> None:
    """Two releases of one name in two namespaces must not fight for one ClusterRole."""

    def names(namespace: str) -> set[tuple[str, str]]:
        manifests = helm.render({}, namespace=namespace)
        return {(m["kind"], m["metadata"]["name"]) for m in manifests if "namespace" not in m["metadata"]}

    assert names("one")
    assert names("one").isdisjoint(names("two"))
