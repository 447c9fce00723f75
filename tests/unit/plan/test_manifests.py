"""What the pods are told: durations that workers understand, and how long running jobs have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rivermill.durations import parse_duration
from rivermill_operator.model.observed import Observed, StoreView
from rivermill_operator.model.parse import SpecError, parse_job_queue
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build
from tests.unit.plan.build import body, deployment, depth, job_queue


def pod(template: Any = None, **worker: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The variables of the container, and the pod."""
    value = body()
    value["spec"]["worker"] |= worker | ({} if template is None else {"template": {"spec": template}})
    spec = build(parse_job_queue(value)).deployment["spec"]["template"]["spec"]
    return {item["name"]: item.get("value", "") for item in spec["containers"][0]["env"]}, spec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("1.5s", 1.5), ("30s", 30), ("300h", 1_080_000), ("8760h", 31_536_000), ("1h30m0.25s", 5400.25)],
)
def test_workers_understand_every_duration_of_the_spec(text: str, seconds: float) -> None:
    variables, _ = pod(pollInterval=text, shutdownTimeout=text)
    for name in ("RIVER_POLL_INTERVAL", "RIVER_SHUTDOWN_TIMEOUT"):
        assert parse_duration(name, variables[name]).total_seconds() == seconds


@pytest.mark.parametrize(
    ("template", "timeout", "grace"),
    [
        (None, "20s", 30),
        ({}, "20s", 30),
        ({"terminationGracePeriodSeconds": 15}, "10s", 15),
        ({"terminationGracePeriodSeconds": 3600}, "3595s", 3600),
        ({"terminationGracePeriodSeconds": 10}, "5s", 10),
        ({"terminationGracePeriodSeconds": 1}, "0.5s", 1),
        # Who sets both has said how long each is.
        (
            {
                "terminationGracePeriodSeconds": 60,
                "containers": [{"name": "worker", "env": [{"name": "RIVER_SHUTDOWN_TIMEOUT", "value": "7s"}]}],
            },
            "7s",
            60,
        ),
    ],
)
def test_the_grace_period_of_the_template_is_told_to_the_worker(template: Any, timeout: str, grace: int) -> None:
    variables, spec = pod(template, shutdownTimeout="20s")
    assert (variables["RIVER_SHUTDOWN_TIMEOUT"], spec["terminationGracePeriodSeconds"]) == (timeout, grace)


SECRET = {"secretKeyRef": {"name": "pooler", "key": "url"}}


@pytest.mark.parametrize(
    "variable",
    [{"name": "DATABASE_URL", "value": "postgresql://pooler/db"}, {"name": "RIVER_WORKERS", "valueFrom": SECRET}],
)
def test_a_variable_of_the_template_takes_the_place_of_the_operators(variable: dict[str, Any]) -> None:
    """Kubernetes refuses one with both a value and a source."""
    _, spec = pod({"containers": [{"name": "worker", "env": [variable]}]})
    assert [item for item in spec["containers"][0]["env"] if item["name"] == variable["name"]] == [variable]


@pytest.mark.parametrize("grace", [None, 0, -1, True, "60", 1.5])
def test_a_grace_period_without_time_is_wrong(grace: Any) -> None:
    with pytest.raises(SpecError, match=r"spec\.worker\.template\.spec\.terminationGracePeriodSeconds: must be a whole number"):
        pod({"terminationGracePeriodSeconds": grace})


def test_the_next_look_at_the_same_object_gets_the_same_manifests() -> None:
    first, changed = (parse_job_queue(body() | {"status": {"x": number}}) for number in (1, 2))
    assert build(first) is build(first)
    assert build(changed) is not build(first)
    assert build(changed) == build(first)


def test_a_deployment_keeps_the_name_that_it_has() -> None:
    """Names with dots had no digest once."""
    queue = replace(job_queue(), name="a.b")
    version, old = build(queue).version, f"a-b-{build(queue).version}"
    there = replace(deployment(0, version), name=old)
    fresh = plan(Observed(0.0, StoreView((depth(),)), (there,)), queue, Memory())
    assert [item.name for item in fresh.apply] == [old]
    applied = replace(there, applied_hash=build(queue, old).digest)
    assert not plan(Observed(0.0, StoreView((depth(),)), (applied,)), queue, Memory()).apply
    (made,) = plan(Observed(0.0, StoreView((depth(),))), queue, Memory()).apply
    assert made.name != old
