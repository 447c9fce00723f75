"""What is kept of an object says the same as the whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rivermill_operator.control.views import deployment_view, pod_view
from rivermill_operator.kube.slim import slim

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
TIME = "2026-01-01T00:00:30Z"
META: dict[str, Any] = {
    "name": "a",
    "namespace": "n",
    "uid": "u",
    "resourceVersion": "7",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"rivermill.dev/jobqueue": "q", "rivermill.dev/template-hash": "h", "other": "x" * 500},
    "managedFields": [{"manager": "m" * 2000}],
}


def with_meta(**more: Any) -> dict[str, Any]:
    return {**META, **more}


POD = {
    "metadata": with_meta(
        annotations={
            "controller.kubernetes.io/pod-deletion-cost": "-5",
            "karpenter.sh/do-not-disrupt": "true",
            "other": "x" * 500,
        }
    ),
    "spec": {"nodeName": "node", "containers": [{"name": "worker", "env": [{"name": "A", "value": "x" * 500}]}]},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": TIME},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": TIME},
        ],
        "containerStatuses": [{"name": "worker", "started": True, "state": {"running": {}}, "imageID": "x" * 500}],
    },
}
CRASHED = {
    "metadata": with_meta(deletionTimestamp=TIME),
    "spec": {},
    "status": {
        "containerStatuses": [
            {
                "name": "worker",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 2, "message": "rivermill: no"}},
            }
        ]
    },
}
PENDING = {"metadata": META, "spec": {}, "status": {"phase": "Pending", "initContainerStatuses": None}}


@pytest.mark.parametrize("pod", [POD, CRASHED, PENDING])
def test_a_pod(pod: dict[str, Any]) -> None:
    assert pod_view(slim(pod), NOW) == pod_view(pod, NOW)


ANNOTATIONS = {
    "rivermill.dev/manifest-hash": "m",
    "rivermill.dev/verdict": "accepted",
    "rivermill.dev/live-since": "2026-01-01T00:00:00+00:00",
    "rivermill.dev/trial": "3/4",
}


def test_a_deployment() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
    deployment = {
        "metadata": with_meta(annotations=ANNOTATIONS),
        "spec": {"replicas": 3, "template": {"spec": "x" * 500}},
        "status": {"conditions": [condition, {"type": "Available", "status": "True"}]},
    }
    assert deployment_view(slim(deployment), NOW) == deployment_view(deployment, NOW)


def test_most_of_a_pod_is_not_kept() -> None:
    assert len(json.dumps(slim(POD))) < len(json.dumps(POD)) / 5
