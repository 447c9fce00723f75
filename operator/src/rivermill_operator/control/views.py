"""The API server's JSON → the values that a decision looks at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rivermill_operator.model import names
from rivermill_operator.model.observed import DeploymentView, PodView, Verdict

_CRASHING = "CrashLoopBackOff"
#: The first restart is at once, and may be the last; after it the kubelet backs off.
_RESTARTS_OF_A_LOOP = 2
_TROUBLE = {
    reason: reason
    for reason in (_CRASHING, "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
                   "CreateContainerError", "RunContainerError")
} | {"ErrImagePull": "ImagePullBackOff"}  # fmt: skip
"""Kubernetes' reasons, and what is told: it takes turns with some of them."""

_OWN = "rivermill: "
#: Phases of pods whose containers have all stopped for good.
_ENDED = ("Succeeded", "Failed")


def deployment_view(obj: Mapping[str, Any], now: datetime) -> DeploymentView:
    """One Deployment."""
    meta, status = obj["metadata"], obj.get("status") or {}
    annotations = meta.get("annotations") or {}
    return DeploymentView(
        name=meta["name"],
        template_hash=meta.get("labels", {}).get(names.HASH_LABEL, ""),
        resource_version=meta["resourceVersion"],
        replicas=int(obj["spec"].get("replicas", 1)),
        # Below 0 while this clock is behind: versions are told apart by their order, which it leaves alone.
        live_seconds=(now - _live_since(annotations.get(names.LIVE_ANNOTATION), meta)).total_seconds(),
        applied_hash=annotations.get(names.MANIFEST_ANNOTATION),
        verdict=_verdict(annotations.get(names.VERDICT_ANNOTATION)),
        trial=_trial(annotations.get(names.TRIAL_ANNOTATION)),
        failure=_failure(status),
    )


def pod_view(obj: Mapping[str, Any], now: datetime) -> PodView:
    """One pod."""
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    containers = status.get("containerStatuses") or []
    annotations = meta.get("annotations") or {}
    troubled = _troubled([*containers, *(status.get("initContainerStatuses") or [])])
    return PodView(
        name=meta["name"],
        uid=meta["uid"],
        template_hash=meta.get("labels", {}).get(names.HASH_LABEL, ""),
        resource_version=meta["resourceVersion"],
        age_seconds=_age(meta, now),
        started=any("running" in (c.get("state") or {}) for c in containers if c["name"] == names.WORKER_CONTAINER),
        ready=conditions.get("Ready") == "True",
        deleting=meta.get("deletionTimestamp") is not None,
        deletion_cost=_integer(annotations.get(names.DELETION_COST)),
        scheduled=bool(obj["spec"].get("nodeName")) or conditions.get("PodScheduled") == "True",
        unplaced=_unplaced(status),
        # A container that was restarted says nothing about how long a pod takes to start.
        ready_after_seconds=None if any(_ended(c) for c in containers) else _ready_after(meta, status),
        # The startup probe asks what the readiness probe asks.
        warm=bool(containers) and all(c.get("started") is True for c in containers),
        protected=any(annotations.get(name) == busy for name, (busy, _) in names.PROTECTION.items()),
        trouble=_trouble(troubled) if troubled else None,
        cause=_cause(troubled) if troubled else "",
    )


@dataclass(slots=True)
class _Seen:
    """A pod; when it was made, last Ready or first warm (None: never) and last looked at, by the clock of its ``PodViews``."""

    obj: Mapping[str, Any]
    view: PodView
    made: float
    ready_at: float | None = None
    at: float | None = None


class PodViews:
    """Pods as values; of one that has not changed since the last look only the times are new.

    They grow by a monotonic clock from when a pod is first seen, so that a jump of the time of day makes no pod old; and by
    whole seconds, as the API server tells times, so that the looks within a second share their values.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Seen] = {}

    def see(self, objects: Sequence[Mapping[str, Any]], now: datetime) -> tuple[PodView, ...]:
        """The pods of one look; an object that is the same as at the last look has not changed.

        Those that have ended are left out, evicted ones, say: nothing runs in them any more, and they may stay for ever.
        """
        known, self._known = self._known, {}
        moment = math.floor(self._clock())
        for obj in objects:
            if (obj.get("status") or {}).get("phase") in _ENDED:
                continue
            uid = obj["metadata"]["uid"]
            seen = known.get(uid) or _Seen(obj, pod_view(obj, now), moment - _age(obj["metadata"], now))
            if seen.obj is not obj:
                seen.obj, seen.view, seen.at = obj, pod_view(obj, now), None
            if seen.at != moment:
                _grow(seen, moment)
            self._known[uid] = seen
        return tuple(seen.view for seen in self._known.values())


def _grow(seen: _Seen, moment: float) -> None:
    seen.at = moment
    # One that is found warm was Ready before, or will be in a moment.
    if seen.view.ready or (seen.view.warm and seen.ready_at is None):
        seen.ready_at = moment
    unready = None if seen.ready_at is None else moment - seen.ready_at
    seen.view = replace(seen.view, age_seconds=moment - seen.made, unready_seconds=unready)


def _ready_after(meta: Mapping[str, Any], status: Mapping[str, Any]) -> float | None:
    ready_at = _condition(status, "Ready", "True").get("lastTransitionTime")
    return _age(meta, datetime.fromisoformat(ready_at)) if ready_at else None


def _unplaced(status: Mapping[str, Any]) -> str:
    return _said(_condition(status, "PodScheduled", "False")) or ""


def _failure(status: Mapping[str, Any]) -> str | None:
    return _said(_condition(status, "ReplicaFailure", "True"))


def _condition(status: Mapping[str, Any], kind: str, value: str) -> Mapping[str, Any]:
    """The condition of a kind, if it has this value; else an empty one."""
    return next((c for c in status.get("conditions") or [] if (c["type"], c["status"]) == (kind, value)), {})


def _said(condition: Mapping[str, Any]) -> str | None:
    return str(condition.get("message") or condition.get("reason")) if condition else None


def _live_since(text: str | None, meta: Mapping[str, Any]) -> datetime:
    """When the template last became the current one; a version that was never returned to has no mark, nor has a wrong one."""
    made = datetime.fromisoformat(meta["creationTimestamp"])
    try:
        marked = datetime.fromisoformat(text or "")
    except ValueError:
        return made
    return marked if marked.tzinfo else made


def _verdict(text: str | None) -> Verdict:
    return Verdict(text) if text in tuple(Verdict) else Verdict.PENDING


def _trial(text: str | None) -> tuple[int, int] | None:
    failed, _, ended = (text or "").partition("/")
    return (int(failed), int(ended)) if failed.isdecimal() and ended.isdecimal() else None


def _troubled(statuses: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The first container that cannot run."""
    return next((status for status in statuses if _trouble(status) is not None), None)


def _trouble(status: Mapping[str, Any]) -> str | None:
    """Why a container cannot run. One that crashes again and again runs for moments in between, and is no better then."""
    waiting = (status.get("state") or {}).get("waiting") or {}
    again = status.get("restartCount", 0) >= _RESTARTS_OF_A_LOOP and status.get("started") is not True and not waiting
    ended = _ended(status)
    # An init container that has done its work is never started again, nor says how it ended before.
    if again and ended and ended["exitCode"] != 0:
        return _CRASHING
    return _TROUBLE.get(waiting.get("reason", ""))


def _cause(status: Mapping[str, Any]) -> str:
    """Why a container cannot run, in what may be shown: the kubelet's words, or a line that the worker itself has written.

    Other lines of a log stay there, for whoever may read logs.
    """
    ended = _ended(status)
    if not ended:
        return str(((status.get("state") or {}).get("waiting") or {}).get("message") or "")
    last = str(ended.get("message") or "").strip().rpartition("\n")[2]
    if last.startswith(_OWN):
        return last
    name = status["name"]
    return f"container {name} ended with code {ended.get('exitCode')}: see `kubectl logs --previous -c {name}`."


def _ended(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a container ended last; empty if it never did, or if the kubelet knows no more of it."""
    found = ((status.get(state) or {}).get("terminated") for state in ("state", "lastState"))
    return next((ended for ended in found if ended), {})


def _integer(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def _age(meta: Mapping[str, Any], now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(meta["creationTimestamp"])).total_seconds())
