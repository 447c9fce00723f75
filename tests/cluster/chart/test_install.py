"""Both charts on a real cluster: what gets Ready, what is allowed, what survives an upgrade and an uninstall."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from devcluster import DevclusterError
from tests.cluster.chart.conftest import CHARTS, CRD, VALUES, Installation, until

JOB_QUEUE = {
    "apiVersion": "rivermill.dev/v1alpha1",
    "kind": "JobQueue",
    "metadata": {"name": "kept"},
    "spec": {
        "database": {"urlSecretRef": {"name": "absent"}},
        "queues": [{"name": "default", "maxWorkers": 10}],
        "worker": {"image": "example/worker:1", "app": "library.jobs:workers"},
        "scaling": {"maxReplicas": 2},
    },
}
ALLOWED = [
    *((verb, "jobqueues.rivermill.dev") for verb in ("get", "list", "watch", "patch")),
    ("patch", "jobqueues.rivermill.dev/status"),
    *((verb, "deployments.apps") for verb in ("list", "watch", "create", "patch", "delete")),
    ("patch", "deployments.apps/scale"),
    *((verb, "poddisruptionbudgets.policy") for verb in ("create", "patch", "delete")),
    *((verb, "pods") for verb in ("list", "watch", "patch")),
    ("get", "secrets"),
    ("create", "events"),
    ("list", "horizontalpodautoscalers.autoscaling"),
]
FORBIDDEN = [
    ("list", "secrets"),
    ("watch", "secrets"),
    ("create", "secrets"),
    ("delete", "pods"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("get", "nodes"),
    ("list", "customresourcedefinitions.apiextensions.k8s.io"),
    ("delete", "jobqueues.rivermill.dev"),
    ("create", "jobqueues.rivermill.dev"),
    ("update", "deployments.apps"),
    ("update", "deployments.apps/scale"),
    ("create", "events.events.k8s.io"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("impersonate", "users"),
]


def may(here: Installation, namespace: str, verb: str, resource: str, user: str | None = None) -> bool:
    """What the API server's authorizer answers for the operator's account."""
    account = user or f"system:serviceaccount:{here.namespace}:rivermill"
    done: subprocess.CompletedProcess[str] = here.cluster.kubectl(
        "auth", "can-i", verb, resource, "--as", account, "-n", namespace, check=False
    )
    assert done.stdout.strip() in {"yes", "no"}, done.stderr
    return done.stdout.strip() == "yes"


def condition(here: Installation, kind: str) -> dict[str, Any]:
    found = here.get("jobqueue", "kept").get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == kind), {})


def test_crd_is_established(installed: Installation) -> None:
    crd = installed.get("crd", CRD)
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert crd["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_both_replicas_are_ready_and_restricted(installed: Installation) -> None:
    status = installed.get("deployment", "rivermill")["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    pods = installed.get("pods", "-l", "app.kubernetes.io/instance=rivermill")["items"]
    assert len(pods) == 2
    assert {c["restartCount"] for pod in pods for c in pod["status"]["containerStatuses"]} == {0}


def test_one_replica_holds_the_lease(installed: Installation) -> None:
    pods = {p["metadata"]["name"] for p in installed.get("pods")["items"]}
    holder = until(lambda: installed.get("lease", "rivermill")["spec"].get("holderIdentity"), "a lease holder")
    assert any(name in holder for name in pods), (holder, pods)


def test_service_leads_to_the_metrics(installed: Installation) -> None:
    path = f"/api/v1/namespaces/{installed.namespace}/services/http:rivermill:http/proxy/metrics"
    assert "# TYPE" in installed.kubectl("get", "--raw", path)


def test_account_may_do_exactly_what_the_operator_needs(installed: Installation) -> None:
    elsewhere = "default"
    assert [right for right in ALLOWED if not may(installed, elsewhere, *right)] == []
    assert [right for right in FORBIDDEN if may(installed, elsewhere, *right)] == []
    own, lease = installed.namespace, "leases.coordination.k8s.io"
    assert may(installed, own, "update", f"{lease}/rivermill")
    assert not may(installed, own, "update", f"{lease}/other")
    assert not may(installed, elsewhere, "create", lease)
    assert not may(installed, elsewhere, "get", f"customresourcedefinitions.apiextensions.k8s.io/{CRD}")


def test_users_with_built_in_roles_get_job_queues(installed: Installation) -> None:
    name = installed.namespace
    for role in ("view", "edit"):
        installed.kubectl("create", "rolebinding", f"test-{role}", f"--clusterrole={role}", f"--user={role}er")
    jobqueues = "jobqueues.rivermill.dev"
    until(lambda: may(installed, name, "list", jobqueues, "viewer"), "the controller aggregates the role view")
    until(lambda: may(installed, name, "create", jobqueues, "editer"), "the controller aggregates the role edit")
    assert not may(installed, name, "create", jobqueues, "viewer")
    assert may(installed, name, "list", jobqueues, "editer")


def test_operator_works_with_the_rendered_rights(installed: Installation) -> None:
    """It reads the resource, sets the finalizer, looks for the Secret and writes the status; nothing is forbidden to it."""
    installed.kubectl("apply", "-f", "-", text=json.dumps(JOB_QUEUE))
    found = until(lambda: condition(installed, "QueueObserved"), "the operator writes QueueObserved")
    assert (found["status"], found["reason"]) == ("False", "SecretNotFound")
    assert "absent" in found["message"]
    assert installed.get("jobqueue", "kept")["metadata"]["finalizers"] == ["rivermill.dev/operator"]
    refused = [line for line in installed.logs().splitlines() if "forbidden" in line.lower()]
    assert refused == []


def test_upgrade_changes_values_and_warns(installed: Installation) -> None:
    notes = installed.upgrade("rivermill", *VALUES, "replicaCount=1", "commonLabels.team=media", "log.format=plain")
    assert "with one replica nobody" in notes
    assert "does not know JobQueue" not in notes
    assert installed.get("deployment", "rivermill")["spec"]["replicas"] == 1
    # The fleet of the JobQueue has a budget of its own.
    own_budget = ("pdb", "-l", "app.kubernetes.io/instance=rivermill")
    assert installed.get(*own_budget)["items"] == []
    assert "WARNING" not in installed.upgrade("rivermill", *VALUES)
    assert len(installed.get(*own_budget)["items"]) == 1


def test_uninstall_keeps_the_crd_and_the_job_queues(installed: Installation) -> None:
    installed.kubectl("apply", "-f", "-", text=json.dumps(JOB_QUEUE))
    installed.helm("uninstall", "rivermill", "--wait")
    installed.helm("uninstall", "rivermill-crds")
    assert installed.helm("list", "--short").strip() == ""
    left = installed.get("deployment,service,serviceaccount,role,rolebinding,pdb", "-l", "app.kubernetes.io/instance=rivermill")
    assert left["items"] == []
    assert installed.get("jobqueue", "kept")["spec"]["scaling"]["maxReplicas"] == 2
    installed.upgrade("rivermill-crds")
    installed.upgrade("rivermill", *VALUES)
    assert installed.get("jobqueue", "kept")["metadata"]["name"] == "kept"


def test_watched_namespaces_are_the_only_ones(installed: Installation) -> None:
    for name in ("watched", "unwatched"):
        installed.cluster.kubectl("create", "namespace", f"{name}-{installed.major}")
    watched, unwatched = f"watched-{installed.major}", f"unwatched-{installed.major}"
    installed.upgrade("rivermill", *VALUES, f"watchNamespaces={{{watched}}}")
    assert [right for right in ALLOWED if not may(installed, watched, *right)] == []
    assert [right for right in ALLOWED if may(installed, unwatched, *right)] == []
    for name in (watched, unwatched):
        installed.cluster.kubectl("-n", name, "apply", "-f", "-", text=json.dumps(JOB_QUEUE))

    def observed(namespace: str) -> bool:
        done = installed.cluster.kubectl("-n", namespace, "get", "jobqueue", "kept", "-o", "json")
        return "status" in json.loads(done.stdout)

    until(lambda: observed(watched), "the operator serves the watched namespace")
    assert not observed(unwatched)
    refused = [line for line in installed.logs().splitlines() if "forbidden" in line.lower()]
    assert refused == []


def test_invalid_job_queue_is_refused_by_the_api_server(installed: Installation) -> None:
    wrong = json.loads(json.dumps(JOB_QUEUE))
    wrong["spec"]["scaling"] = {"minReplicas": 3, "maxReplicas": 2}
    done = installed.cluster.kubectl("create", "-f", "-", text=json.dumps(wrong), check=False)
    assert done.returncode != 0
    assert "minReplicas must not be above maxReplicas" in done.stderr


def test_a_second_crd_release_says_who_owns_it(installed: Installation) -> None:
    with pytest.raises(DevclusterError, match="release-name"):
        installed.helm("install", "other-crds", str(CHARTS / "rivermill-crds"))
