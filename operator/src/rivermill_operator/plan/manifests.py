"""The worker Deployment of one version of a fleet."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rivermill_operator.model import names
from rivermill_operator.model.spec import JobQueue, Migrate, WorkerSpec
from rivermill_operator.model.template import GRACE_PERIOD, LIST_KEYS

HTTP_PORT = 8080
#: Beyond ``shutdownTimeout``: jobs are given back and results flushed.
GRACE_SECONDS = 10
#: What is left for that of a grace period that the template sets; half of a short one.
_FLUSH_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Manifests:
    """Everything that one version consists of, built once for a decision.

    Attributes:
        version: eight hex digits that change whenever the pods would differ, and never with the scaling settings.
        deployment: without ``spec.replicas``: those are written through ``/scale`` only. It is annotated with ``digest``.
        budget: its PodDisruptionBudget.
        digest: of both; what has been applied once needs no second apply.
    """

    version: str
    deployment: Mapping[str, Any]
    budget: Mapping[str, Any]
    digest: str


class _Same:
    """A ``JobQueue`` as a key: the same object, which is as it was."""

    __slots__ = ("job_queue",)

    def __init__(self, job_queue: JobQueue) -> None:
        self.job_queue = job_queue

    def __hash__(self) -> int:
        return id(self.job_queue)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.job_queue is self.job_queue


def build(job_queue: JobQueue, name: str | None = None) -> Manifests:
    """The manifests of the current version; not to be changed, for the next look at the same object gets them again.

    Args:
        job_queue: whose fleet.
        name: of its Deployment, where that is there under another name than it would get now.
    """
    return _build(_Same(job_queue), name)


@functools.lru_cache(maxsize=1024)
def _build(same: _Same, name: str | None) -> Manifests:
    job_queue = same.job_queue
    template = _pod_template(job_queue)
    version = _digest(template)[:8]
    deployment = _deployment(job_queue, template, version, name or names.deployment_name(job_queue.name, version))
    budget = _disruption_budget(deployment)
    digest = _digest([deployment, budget])[:16]
    deployment["metadata"]["annotations"] = {names.MANIFEST_ANNOTATION: digest}
    return Manifests(version, deployment, budget, digest)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _deployment(job_queue: JobQueue, template: dict[str, Any], version: str, name: str) -> dict[str, Any]:
    labels = names.labels(job_queue.name, version)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": job_queue.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": f"{names.GROUP}/{names.VERSION}",
                    "kind": names.KIND,
                    "name": job_queue.name,
                    "uid": job_queue.uid,
                    # Without blockOwnerDeletion, which would need a right on the JobQueue's finalizers on OpenShift.
                    "controller": True,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "revisionHistoryLimit": 0,
            "template": template,
        },
    }


def _disruption_budget(deployment: dict[str, Any]) -> dict[str, Any]:
    """Nodes are drained one busy pod at a time, drained pods at will."""
    meta = deployment["metadata"]
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {key: meta[key] for key in ("name", "namespace", "labels", "ownerReferences")},
        "spec": {
            "maxUnavailable": 1,
            "selector": deployment["spec"]["selector"],
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


#: What the container that migrates has in common with the one that works.
_SHARED = ("image", "command", "env", "securityContext", "volumeMounts", "terminationMessagePolicy")


def _pod_template(job_queue: JobQueue) -> dict[str, Any]:
    spec = job_queue.spec
    container = {
        "name": names.WORKER_CONTAINER,
        "image": spec.worker.image,
        "command": ["rivermill"],
        "args": ["work", spec.worker.app],
        "env": _environment(job_queue),
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/readyz", failures=120),
        "readinessProbe": _probe("/readyz", failures=1),
        "livenessProbe": _probe("/livez", failures=3, period=10),
        "securityContext": _container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the container
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        GRACE_PERIOD: int(spec.worker.shutdown_timeout) + GRACE_SECONDS,
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
        shared = {key: container[key] for key in _SHARED}
        pod["initContainers"] = [{**shared, "name": "migrate", "args": ["migrate", "up"]}]
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
        "RIVER_POLL_INTERVAL": duration(spec.worker.poll_interval),
        "RIVER_SHUTDOWN_TIMEOUT": duration(shutdown_seconds(spec.worker)),
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


def shutdown_seconds(worker: WorkerSpec) -> float:
    """How long running jobs have; a grace period in the template takes the place of ``shutdownTimeout``."""
    grace = worker.template.get("spec", {}).get(GRACE_PERIOD)
    if grace is None:
        return worker.shutdown_timeout
    return float(max(grace - _FLUSH_SECONDS, grace / 2))


def duration(seconds: float) -> str:
    """As workers read it, without an exponent however long it is."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


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
    """Lay ``overlay`` over ``base``: maps merge, lists of named items merge by name, anything else is replaced.

    A variable of ``env`` is replaced, too: one that has a value cannot have a source. Neither argument is changed; what comes
    from ``base`` is shared, not copied.
    """
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        merged = dict(base)
        for name, value in overlay.items():
            merged[name] = merge(merged[name], value, name) if name in merged else copy.deepcopy(value)
        return merged
    item_key = LIST_KEYS.get(key)
    if item_key and isinstance(base, list) and isinstance(overlay, list):
        items = {item.get(item_key): item for item in base}
        for item in overlay:
            name = item.get(item_key)
            items[name] = merge(items[name], item) if name in items and key != "env" else copy.deepcopy(item)
        return list(items.values())
    return copy.deepcopy(overlay)
