"""What is shown of a container that cannot run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill_operator.control.views import PodViews, pod_view

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(**container: Any) -> dict[str, Any]:
    meta = {"name": "p", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}}
    return {"metadata": meta, "spec": {}, "status": {"containerStatuses": [{"name": "worker", **container}]}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, message: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message}}


@pytest.mark.parametrize(
    ("container", "trouble", "cause"),
    [
        ({"state": {"running": {}}}, None, ""),
        ({"state": waiting("ContainerCreating")}, None, ""),
        ({"state": waiting("ErrImagePull", "no such image x:1")}, "ErrImagePull", "no such image x:1"),
        (
            {"state": waiting("CrashLoopBackOff"), "lastState": ended(2, "one\nrivermill: APP 'a:b': cannot import a\n")},
            "CrashLoopBackOff",
            "rivermill: APP 'a:b': cannot import a",
        ),
        (
            {"state": waiting("CrashLoopBackOff"), "lastState": ended(1, "RuntimeError: wrong key s3cret")},
            "CrashLoopBackOff",
            "container worker ended with code 1: see `kubectl logs --previous -c worker`.",
        ),
    ],
)
def test_trouble_and_its_cause(container: dict[str, Any], trouble: str | None, cause: str) -> None:
    view = pod_view(pod(**container), NOW)
    assert (view.trouble, view.cause) == (trouble, cause)


def test_a_pod_that_has_not_changed_only_ages() -> None:
    views, later = PodViews(), NOW + timedelta(seconds=30)
    first, changed = pod(state={"running": {}}), pod(state=waiting("CrashLoopBackOff"))
    assert views.see([first], NOW) == (pod_view(first, NOW),)
    assert views.see([first], later) == (pod_view(first, later),)
    assert views.see([changed], later) == (pod_view(changed, later),)
    assert views.see([], later) == ()
