"""What is kept of the objects of a cache: a pod as the API server tells it is ten times as large as what is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rivermill_operator.model import names

_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_LABELS = (names.JOB_QUEUE_LABEL, names.HASH_LABEL)
_ANNOTATIONS = (
    names.MANIFEST_ANNOTATION,
    names.VERDICT_ANNOTATION,
    names.LIVE_ANNOTATION,
    names.TRIAL_ANNOTATION,
    names.DELETION_COST,
    *names.PROTECTION,
)
_SPEC = ("replicas", "nodeName")
_CONDITIONS = ("Ready", "PodScheduled", "ReplicaFailure")
_CONDITION = ("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER = ("name", "state", "lastState", "restartCount", "started")


def slim(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A Deployment or a pod with what ``control.views`` and the cache itself look at, and nothing else."""
    meta, status = obj["metadata"], obj.get("status") or {}
    kept: dict[str, Any] = _only(meta, _META)
    kept["labels"] = _only(meta.get("labels"), _LABELS)
    kept["annotations"] = _only(meta.get("annotations"), _ANNOTATIONS)
    return {
        "metadata": kept,
        "spec": _only(obj.get("spec"), _SPEC),
        "status": {
            **_only(status, ("phase",)),
            "conditions": [_only(c, _CONDITION) for c in status.get("conditions") or () if c["type"] in _CONDITIONS],
            "containerStatuses": [_only(c, _CONTAINER) for c in status.get("containerStatuses") or ()],
            "initContainerStatuses": [_only(c, _CONTAINER) for c in status.get("initContainerStatuses") or ()],
        },
    }


def _only(value: Mapping[str, Any] | None, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value} if value else {}
