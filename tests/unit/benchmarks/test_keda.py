"""What both scalers are given, and how pods are counted."""

from __future__ import annotations

from typing import Any

from benchmarks.keda import run
from benchmarks.keda.keda import scaled_object
from benchmarks.keda.run import Pods
from benchmarks.keda.workloads import WORKLOADS


def pod(uid: str, *, ready: bool) -> dict[str, Any]:
    return {"metadata": {"uid": uid}, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def test_the_pods_are_the_same() -> None:
    """KEDA's differ only in what KEDA itself needs."""
    deployment = run._deployment(run._job_queue("n"), "postgresql://h/d")
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    environment = {item["name"]: item for item in container["env"]}
    assert environment["KEDA_URL"]["value"] == "postgresql://h/d?sslmode=disable&application_name=keda"
    assert environment["RIVER_QUEUES"]["value"] == "default:10:1"
    assert container["readinessProbe"]["periodSeconds"] == 1
    assert template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]


def test_tuned_differs_from_default_in_speed_only() -> None:
    default, tuned = (scaled_object("w", tuned=tuned)["spec"] for tuned in (False, True))
    assert {key: tuned[key] for key in default} == default
    assert set(tuned) - set(default) == {"pollingInterval", "cooldownPeriod", "advanced"}


def test_pods_are_counted_from_seen_to_gone() -> None:
    pods = Pods()
    pods.see("ADDED", pod("a", ready=False))
    assert (pods.first_ready, pods.peak) == (None, 0)
    pods.see("MODIFIED", pod("a", ready=True))
    pods.see("ADDED", pod("b", ready=True))
    pods.see("DELETED", pod("a", ready=False))
    pods.see("DELETED", pod("b", ready=True))
    assert (pods.peak, pods.here, pods.ready) == (2, {}, set())
    assert pods.pod_seconds > 0
    assert pods.first_ready is not None


def test_workloads() -> None:
    assert {name: (w.jobs, w.pure_pod_seconds) for name, w in WORKLOADS.items()} == {
        "dump": (2_000, 200.0),
        "onoff": (5_400, 540.0),
        "long": (150, 900.0),
    }
