"""The worker Deployment of one version of a fleet."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rivermill_operator.model import names
from rivermill_operator.model.spec import JobQueue, Migrate

HTTP_PORT = 8080
#: Beyond ``shutdownTimeout``: jobs are given back and results flushed.
GRACE_SECONDS = 10

#: Lists of the pod that are merged by a key of their items, as ``kubectl apply`` does.
_LIST_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "name",
}


def template_hash(job_queue: JobQueue) -> str:
    """Eight hex digits that change whenever the pods would differ, and never with the scaling settings."""
    text = json.dumps(_pod_template(job_queue), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def deployment(job_queue: JobQueue) -> dict[str, Any]:
    """The Deployment of the current version, without ``spec.replicas``: those are written through ``/scale`` only."""
    version = template_hash(job_queue)
    labels = names.labels(job_queue.name, version)
    template = _pod_template(job_queue)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.deployment_name(job_queue.name, version),
            "namespace": job_queue.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": f"{names.GROUP}/{names.VERSION}",
                    "kind": names.KIND,
                    "name": job_queue.name,
                    "uid": job_queue.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "revisionHistoryLimit": 0,
            "template": template,
        },
    }


def disruption_budget(job_queue: JobQueue) -> dict[str, Any]:
    """The PodDisruptionBudget of the current version: a node is drained one busy pod at a time, drained pods at will."""
    made = deployment(job_queue)
    meta = made["metadata"]
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {key: meta[key] for key in ("name", "namespace", "labels", "ownerReferences")},
        "spec": {
            "maxUnavailable": 1,
            "selector": made["spec"]["selector"],
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _pod_template(job_queue: JobQueue) -> dict[str, Any]:
    spec = job_queue.spec
    container = {
        "name": "worker",
        "image": spec.worker.image,
        "command": ["rivermill"],
        "args": ["work", spec.worker.app],
        "env": _environment(job_queue),
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/readyz", failures=120),
        "readinessProbe": _probe("/readyz", failures=1),
        "livenessProbe": _probe("/livez", failures=3, period=10),
        "securityContext": _container_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(spec.worker.shutdown_timeout) + GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if spec.database.migrate is Migrate.APPLY:
        pod["initContainers"] = [
            {**{k: container[k] for k in ("image", "command", "env", "securityContext", "volumeMounts")}, "name": "migrate",
             "args": ["migrate", "up"]}
        ]  # fmt: skip
    # A pod may get jobs as soon as it is there.
    metadata = {"annotations": {name: busy for name, (busy, _) in names.PROTECTION.items()}}
    merged: dict[str, Any] = merge({"metadata": metadata, "spec": pod}, spec.worker.template)
    return merged


def _environment(job_queue: JobQueue) -> list[dict[str, Any]]:
    spec = job_queue.spec
    reference = {"name": spec.database.secret_name, "key": spec.database.secret_key}
    queues = ",".join(f"{q.name}:{q.max_workers}:{q.priority}" for q in spec.queues)
    values = {
        "RIVER_SCHEMA": spec.database.schema,
        "RIVER_QUEUES": queues,
        "RIVER_WORKERS": str(spec.worker.slots),
        "RIVER_MAX_ATTEMPTS": str(spec.worker.max_attempts),
        "RIVER_POLL_INTERVAL": f"{spec.worker.poll_interval:g}s",
        "RIVER_SHUTDOWN_TIMEOUT": f"{spec.worker.shutdown_timeout:g}s",
        "RIVER_HTTP_PORT": str(HTTP_PORT),
        "RIVER_LOG_FORMAT": "json",
    }
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP",
    }
    return [
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": reference}},
        *({"name": name, "value": value} for name, value in values.items()),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
    ]


def _probe(path: str, *, failures: int, period: int = 1) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _container_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }


def merge(base: Any, overlay: Any, key: str = "") -> Any:
    """Lay ``overlay`` over ``base``: maps merge, lists of named items merge by name, anything else is replaced."""
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        merged = {k: copy.deepcopy(v) for k, v in base.items()}
        for name, value in overlay.items():
            merged[name] = merge(merged[name], value, name) if name in merged else copy.deepcopy(value)
        return merged
    item_key = _LIST_KEYS.get(key)
    if item_key and isinstance(base, list) and isinstance(overlay, list):
        items = {item.get(item_key): copy.deepcopy(item) for item in base}
        for item in overlay:
            name = item.get(item_key)
            items[name] = merge(items[name], item) if name in items else copy.deepcopy(item)
        return list(items.values())
    return copy.deepcopy(overlay)
