"""The operator gets exactly the rights it uses, where it uses them, and users the rights their roles suggest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from types import SimpleNamespace
from typing import Any

import pytest

from rivermill_operator.kube.client import KubeClient
from rivermill_operator.kube.rest import APPLY_PATCH
from rivermill_operator.model.observed import Verdict
from tests.chart.helm import Helm, Manifest, one

Right = tuple[str, str, str, str]
EVERYWHERE = {
    ("rivermill.dev", "jobqueues"): "get list watch patch",
    ("rivermill.dev", "jobqueues/status"): "patch",
    ("apps", "deployments"): "list watch create patch delete",
    ("apps", "deployments/scale"): "patch",
    ("policy", "poddisruptionbudgets"): "create patch delete",
    ("", "pods"): "list watch patch",
    ("", "secrets"): "get",
    ("", "events"): "create",
    ("autoscaling", "horizontalpodautoscalers"): "list",
}
WATCHED: set[Right] = {(group, resource, verb, "") for (group, resource), verbs in EVERYWHERE.items() for verb in verbs.split()}
#: kopf lists, watches and patches the resource by itself.
KOPF: set[Right] = {("rivermill.dev", "jobqueues", verb, "") for verb in ("list", "watch", "patch")}


def leases(name: str) -> set[Right]:
    own = {("coordination.k8s.io", "leases", verb, name) for verb in ("get", "update")}
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


class Recorder:
    """Takes note of the rights that requests need."""

    def __init__(self) -> None:
        self.rights: set[Right] = set()

    async def request(
        self, method: str, path: str, *, query: Any = None, body: Any = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        group, resource, named = place(path)
        verb = {"GET": "get" if named else "list", "POST": "create", "PUT": "update"}.get(method, method.lower())
        self.rights.add((group, resource, verb, ""))
        if content_type == APPLY_PATCH:
            self.rights.add((group, resource, "create", ""))
        return {"metadata": {"resourceVersion": "1", "uid": "u", "generation": 1}}

    async def watch(self, path: str, query: Any) -> AsyncIterator[dict[str, Any]]:
        group, resource, _ = place(path)
        self.rights.add((group, resource, "watch", ""))
        await asyncio.sleep(3600)
        yield {}


def place(path: str) -> tuple[str, str, bool]:
    """API group, resource with its subresource, and whether the path names one object."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    rest = rest[2:] if rest[0] == "namespaces" else rest
    return group, "/".join(rest[::2]), len(rest) > 1


async def test_rights_are_those_that_requests_need() -> None:
    recorder = Recorder()
    kube = KubeClient(recorder, lambda _: None, "me", ())  # type: ignore[arg-type]
    meta = {"name": "d", "labels": {"rivermill.dev/jobqueue": "q"}, "annotations": {}}
    manifest = {"metadata": meta, "spec": {}}
    owner = SimpleNamespace(name="q", namespace="n", uid="u", generation=1)
    requests: dict[str, tuple[Any, ...]] = {
        "secret": ("n", "s"),
        "conflict": ("n", "q", ["d"]),
        "make_deployment": ("n", manifest),
        "apply_deployment": ("n", manifest),
        "apply_budget": ("n", manifest),
        "set_verdict": ("n", "d", Verdict.REJECTED, (3, 3), "1"),
        "mark_live": ("n", "d", datetime(2026, 1, 1, tzinfo=UTC)),
        "set_replicas": ("n", "d", 1, "1"),
        "set_protection": ("n", "p", True, "1"),
        "set_deletion_cost": ("n", "p", 1, "1"),
        "delete_version": ("n", "d", "1"),
        "release_ownership": ("n", "d"),
        "gone": (owner,),
        "clear_manual": (owner,),
        "remove_finalizer": (owner,),
        "write_status": (owner, {}, {}),
        "emit_event": (owner, "Normal", "r", "m"),
    }
    assert set(requests) == {name for name, value in vars(KubeClient).items() if name[0] != "_" and iscoroutinefunction(value)}
    for name, arguments in requests.items():
        await getattr(kube, name)(*arguments)
    caches = [asyncio.create_task(cache.run()) for cache in kube.caches]
    await asyncio.sleep(0.1)
    for task in caches:
        task.cancel()
    await asyncio.gather(*caches, return_exceptions=True)
    assert recorder.rights | KOPF == WATCHED


def test_cluster_wide(helm: Helm) -> None:
    found = granted(helm.render({}), "river-rivermill", "mill")
    assert found == {"*": WATCHED, "mill": leases("river-rivermill")}


def test_per_namespace(helm: Helm) -> None:
    manifests = helm.render({"watchNamespaces": ["team-a", "team-b", "team-a"]})
    assert granted(manifests, "river-rivermill", "mill") == {
        "team-a": WATCHED,
        "team-b": WATCHED,
        "mill": leases("river-rivermill"),
    }


def test_release_namespace_may_be_watched(helm: Helm) -> None:
    found = granted(helm.render({"watchNamespaces": ["mill"]}), "river-rivermill", "mill")
    assert found == {"mill": WATCHED | leases("river-rivermill")}


def test_lease_name_is_the_one_that_may_be_changed(helm: Helm) -> None:
    found = granted(helm.render({"leaderElection": {"leaseName": "mine"}}), "river-rivermill", "mill")
    assert found["mill"] == leases("mine")


def test_foreign_account_is_bound(helm: Helm) -> None:
    values: Manifest = {"serviceAccount": {"create": False, "name": "ready-made"}}
    manifests = helm.render(values)
    assert granted(manifests, "ready-made", "mill")["*"] == WATCHED
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
