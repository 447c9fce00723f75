"""Builders of what a decision looks at."""

from __future__ import annotations

from typing import Any

from rivermill_operator.model.observed import ClientView, DeploymentView, PodView, QueueDepth, Verdict
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan.manifests import build


def body(**scaling: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "n", "name": "q", "uid": "u", "generation": 1},
        "spec": {
            "database": {"urlSecretRef": {"name": "db"}},
            "queues": [{"name": "default", "maxWorkers": 10}, {"name": "high", "maxWorkers": 20, "priority": 10}],
            "worker": {"image": "i", "app": "m:a", "slots": 20},
            "scaling": {"maxReplicas": 20, "scaleIn": {"windowSeconds": 10}, **scaling},
        },
    }


def job_queue(**scaling: Any) -> JobQueue:
    return parse_job_queue(body(**scaling))


VERSION = build(job_queue()).version


def depth(name: str = "default", **numbers: Any) -> QueueDepth:
    return QueueDepth(name, **numbers)


def deployment(replicas: int, version: str = VERSION, **changes: Any) -> DeploymentView:
    values = {"live_seconds": 100.0, "verdict": Verdict.ACCEPTED}
    return DeploymentView(f"q-{version}", version, "7", replicas, **{**values, **changes})


def pod(number: int, version: str = VERSION, **changes: Any) -> PodView:
    values = {"resource_version": "1", "age_seconds": 60.0 + number, "started": True, "ready": True}
    return PodView(f"p{number}", f"uid{number}", version, **{**values, **changes})


def client(number: int, **changes: Any) -> ClientView:
    values = {"state": "accepting", "wanted_state": "accepting", "slots": 20, "running": 0, "silent_seconds": 1.0}
    values |= changes
    return ClientView(f"c{number}", f"uid{number}", **{"running_by_queue": {"default": values["running"]}, **values})
