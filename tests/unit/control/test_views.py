"""What is shown of a container that cannot run, and how old things are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill_operator.control.views import PodViews, deployment_view, pod_view
from rivermill_operator.model import names
from rivermill_operator.model.observed import Observed, StoreView
from rivermill_operator.plan import Memory, plan
from tests.unit.plan.build import VERSION, client, deployment, depth, job_queue

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
        ({"state": waiting("ErrImagePull", "no such image x:1")}, "ImagePullBackOff", "no such image x:1"),
        ({"state": {"running": {}}, "restartCount": 2, "started": True, "lastState": ended(1, "")}, None, ""),
        ({"state": {"running": {}}, "restartCount": 1, "started": False, "lastState": ended(1, "")}, None, ""),
        ({"state": {"running": {}}, "restartCount": 2, "started": False, "lastState": ended(0, "")}, None, ""),
        (
            {"state": {"running": {}}, "restartCount": 2, "started": False, "lastState": ended(2, "rivermill: no")},
            "CrashLoopBackOff",
            "rivermill: no",
        ),
        (
            {
                "state": ended(2, "rivermill: no"),
                "restartCount": 2,
                "started": False,
                "lastState": ended(2, "rivermill: before"),
            },
            "CrashLoopBackOff",
            "rivermill: no",
        ),
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


@pytest.mark.parametrize(
    ("init", "trouble", "cause"),
    [
        # It has done its work; of the times before the kubelet may know no more.
        ({"state": ended(0, ""), "restartCount": 2, "lastState": {}}, None, ""),
        ({"state": ended(0, ""), "restartCount": 2}, None, ""),
        ({"state": ended(0, ""), "restartCount": 2, "lastState": ended(1, "")}, None, ""),
        ({"state": {"running": {}}, "restartCount": 2, "lastState": {}}, None, ""),
        ({"state": {"running": {}}, "restartCount": 1, "lastState": ended(1, "")}, None, ""),
        (
            {"state": {"running": {}}, "restartCount": 2, "lastState": ended(1, "")},
            "CrashLoopBackOff",
            "container wait ended with code 1: see `kubectl logs --previous -c wait`.",
        ),
        (
            {"state": ended(3, ""), "restartCount": 2, "lastState": {}},
            "CrashLoopBackOff",
            "container wait ended with code 3: see `kubectl logs --previous -c wait`.",
        ),
        (
            {"state": waiting("CrashLoopBackOff", "back-off 20s"), "restartCount": 2, "lastState": {}},
            "CrashLoopBackOff",
            "back-off 20s",
        ),
    ],
)
def test_trouble_of_an_init_container_and_its_cause(init: dict[str, Any], trouble: str | None, cause: str) -> None:
    starting = pod(state=waiting("PodInitializing"), started=False, restartCount=0)
    starting["status"]["initContainerStatuses"] = [{"name": "wait", "started": False, **init}]
    view = pod_view(starting, NOW)
    assert (view.trouble, view.cause) == (trouble, cause)


def test_a_pod_that_has_not_changed_only_ages() -> None:
    clock = iter([1000.0, 1030.0, 1030.0, 1030.0])
    views, later = PodViews(lambda: next(clock)), NOW + timedelta(seconds=30)
    first, changed = pod(state={"running": {}}), pod(state=waiting("CrashLoopBackOff"))
    assert views.see([first], NOW) == (pod_view(first, NOW),)
    assert views.see([first], later) == (pod_view(first, later),)
    assert views.see([changed], later) == (pod_view(changed, later),)
    assert views.see([], later) == ()


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_jump_of_the_time_of_day_makes_nothing_older(jump: timedelta) -> None:
    clock = iter([1000.0, 1002.0])
    views, first, changed = PodViews(lambda: next(clock)), pod(state={"running": {}}), pod(state=waiting("ErrImagePull"))
    made = NOW + timedelta(seconds=5)
    assert [seen.age_seconds for seen in views.see([first], made)] == [5.0]
    assert [seen.age_seconds for seen in views.see([changed], made + jump)] == [7.0]


def test_versions_keep_their_order_while_the_clock_is_behind() -> None:
    stamps = ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z")
    metas = ({"name": "d", "resourceVersion": "1", "creationTimestamp": stamp} for stamp in stamps)
    older, younger = (deployment_view({"metadata": meta, "spec": {}}, NOW - timedelta(hours=1)) for meta in metas)
    assert older.live_seconds > younger.live_seconds


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        (None, 3600.0),
        ("2026-01-01T00:50:00.500000+00:00", 599.5),
        ("2026-01-01T00:50:00Z", 600.0),
        # What nobody can have written, and a time without a zone: as if it were not there.
        ("yesterday", 3600.0),
        ("", 3600.0),
        ("2026-01-01T00:50:00", 3600.0),
    ],
)
def test_a_version_that_was_returned_to_is_live_since_then(mark: str | None, seconds: float) -> None:
    annotations = {} if mark is None else {"rivermill.dev/live-since": mark}
    meta = {"name": "d", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations}
    assert deployment_view({"metadata": meta, "spec": {}}, NOW + timedelta(hours=1)).live_seconds == seconds


@pytest.mark.parametrize(
    ("mark", "trial"), [(None, None), ("3/12", (3, 12)), ("3", None), ("many/12", None), ("3/12/4", None), ("-3/12", None)]
)
def test_the_numbers_of_a_trial_are_read_if_they_are_some(mark: str | None, trial: tuple[int, int] | None) -> None:
    annotations = {} if mark is None else {"rivermill.dev/trial": mark}
    meta = {"name": "d", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations}
    assert deployment_view({"metadata": meta, "spec": {}}, NOW).trial == trial


@pytest.mark.parametrize(("container", "seconds"), [({}, 8.0), ({"lastState": ended(137, "")}, None)])
def test_a_restarted_container_tells_no_start(container: dict[str, Any], seconds: float | None) -> None:
    ready = pod(state={"running": {}}, started=True, **container)
    ready["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:08Z"}]
    assert pod_view(ready, NOW).ready_after_seconds == seconds


def test_since_when_a_pod_is_not_ready() -> None:
    clock = iter([1000.0, 1005.0, 1015.0, 1025.0])
    views, starting, ready, again = PodViews(lambda: next(clock)), pod(), pod(started=True), pod(lastState=ended(137, ""))
    ready["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    seen = [views.see([obj], NOW)[0].unready_seconds for obj in (starting, ready, again, again)]
    assert seen == [None, 0.0, 10.0, 20.0]


def test_since_when_a_pod_that_was_ready_before_the_first_look_is_not() -> None:
    clock = iter([1000.0, 1010.0])
    views, cut_off = PodViews(lambda: next(clock)), pod(started=True)
    assert [views.see([cut_off], NOW)[0].unready_seconds for _ in range(2)] == [0.0, 10.0]


@pytest.mark.parametrize(
    ("condition", "unplaced"),
    [
        (None, ""),
        ({"type": "PodScheduled", "status": "True"}, ""),
        ({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes."}, "0/1 nodes."),
        ({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}, "SchedulingGated"),
    ],
)
def test_only_the_scheduler_says_that_there_is_no_node(condition: dict[str, Any] | None, unplaced: str) -> None:
    created = pod()
    created["status"]["conditions"] = [condition] if condition else []
    assert pod_view(created, NOW).unplaced == unplaced


@pytest.mark.parametrize(("worker", "started"), [({"running": {}}, True), (waiting("CrashLoopBackOff"), False)])
def test_a_pod_works_when_its_worker_does_whatever_runs_beside_it(worker: dict[str, Any], *, started: bool) -> None:
    """Else a worker that cannot start would keep its pod for ever where the template adds another container."""
    both = pod(state=worker)
    both["status"]["containerStatuses"].append({"name": "proxy", "state": {"running": {}}})
    assert pod_view(both, NOW).started is started


def test_looks_within_a_second_share_their_values() -> None:
    clock = iter([1000.2, 1000.9, 1001.1])
    views, obj = PodViews(lambda: next(clock)), pod(state={"running": {}})
    first, same, later = (views.see([obj], NOW)[0] for _ in range(3))
    assert same is first
    assert (first.age_seconds, later.age_seconds) == (0.0, 1.0)


def in_phase(phase: str) -> dict[str, Any]:
    found = pod(state={"running": {}} if phase == "Running" else ended(137, ""))
    found["metadata"] |= {"uid": "uid1", "labels": {names.HASH_LABEL: VERSION}}
    found["status"]["phase"] = phase
    return found


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_holds_up_no_deletion(phase: str) -> None:
    """The object of a pod that the kubelet has evicted stays until somebody deletes it."""
    views, gone = PodViews(), replace(job_queue(), deleting=True)
    idle = StoreView((depth(),))
    running = Observed(0.0, idle, (deployment(0),), views.see([in_phase("Running")], NOW))
    assert plan(running, gone, Memory()).deletions == ()
    left = Observed(0.0, idle, (deployment(0),), views.see([in_phase(phase)], NOW))
    assert [version.name for version in plan(left, gone, Memory()).deletions] == [f"q-{VERSION}"]
    assert plan(replace(left, deployments=()), gone, Memory()).done


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_the_client_of_a_pod_that_has_ended_is_declared_dead(phase: str) -> None:
    views, busy = PodViews(), StoreView((depth(),), (client(1, running=2),))
    here = Observed(0.0, busy, (deployment(1),), views.see([in_phase("Running")], NOW))
    memory = plan(here, job_queue(), Memory()).memory
    memory = plan(replace(here, now=1.0, pods=views.see([in_phase(phase)], NOW)), job_queue(), memory).memory
    silent = StoreView((depth(),), (client(1, running=2, silent_seconds=13.0),))
    assert plan(replace(here, now=14.0, store=silent, pods=views.see([in_phase(phase)], NOW)), job_queue(), memory).bury == (
        "c1",
    )
