"""A spec that passes the schema and is wrong all the same: it is told, nothing is touched, and deletion goes on."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill_operator.model.observed import INVALID_SPEC, Observed, StoreView, Unknown
from rivermill_operator.model.parse import SpecError, parse_job_queue, read_job_queue
from rivermill_operator.model.spec import DeletionPolicy
from rivermill_operator.plan import Memory, Plan, plan
from tests.unit.plan.build import body, client, deployment, depth, job_queue, pod

ZONE = [{"cron": "0 8 * * *", "durationSeconds": 60, "replicas": 1, "timeZone": "Mars/Olympus"}]
FLEET = {"deployments": (deployment(2),), "pods": (pod(1), pod(2))}
STORE = StoreView((depth(),), (client(1), client(2, running=1)))


def wrong(*, deleting: bool = False, **spec: Any) -> dict[str, Any]:
    value = body(schedules=ZONE)
    value["spec"] |= spec
    if deleting:
        value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return value


def look(memory: Memory) -> Plan:
    found = read_job_queue(wrong())
    return plan(Observed(5.0, Unknown(INVALID_SPEC, str(found.wrong)), **FLEET), found, memory)


def test_it_is_a_condition_and_an_event_once_and_touches_nothing() -> None:
    before = plan(Observed(0.0, STORE, **FLEET), job_queue(), Memory())
    told = look(before.memory)
    conditions = {c.type: (c.status, c.reason) for c in told.conditions}
    assert conditions["Ready"] == ("False", "InvalidSpec")
    assert conditions["QueueObserved"] == ("Unknown", "InvalidSpec")
    assert conditions["ScalingActive"] == ("False", "InvalidSpec")
    assert "spec.scaling.schedules[0].timeZone: 'Mars/Olympus'" in told.conditions[0].message
    assert [(event.type, event.reason) for event in told.events] == [("Warning", "InvalidSpec")]
    assert (told.apply, told.scales, told.cordon, told.deletions) == ((), (), (), ())
    assert look(told.memory).events == ()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            {"timeZone": "Mars/Olympus"},
            "spec.scaling.schedules[1].timeZone: 'Mars/Olympus' is not known; write a name such as Europe/Berlin or UTC",
        ),
        (
            {"cron": "0 8 31 2 *"},
            (
                "spec.scaling.schedules[1].cron: '0 8 31 2 *' never comes, for none of its months has a day 31: "
                "write an earlier day, or another month"
            ),
        ),
    ],
)
def test_what_only_the_operator_sees_of_a_schedule_is_told_in_full(schedule: dict[str, Any], message: str) -> None:
    """Field, value and way out, by the condition that ``kubectl get`` shows the reason of, by the Event and by ``explain``."""
    right = {"cron": "0 8 * * *", "durationSeconds": 60, "replicas": 1}
    value = body(schedules=[right, right | schedule])
    found = read_job_queue(value)
    told = plan(Observed(0.0, Unknown(INVALID_SPEC, str(found.wrong)), **FLEET), found, Memory())
    ready = next(c for c in told.conditions if c.type == "Ready")
    assert (ready.status, ready.reason, ready.message) == ("False", "InvalidSpec", message)
    assert [(event.type, event.message) for event in told.events] == [("Warning", message)]
    assert told.decision.sentence == f"Nothing is decided, for the spec is wrong: {message}."


def test_a_mended_spec_is_told_too() -> None:
    mended = plan(Observed(9.0, STORE, **FLEET), job_queue(), look(Memory()).memory)
    assert ("Normal", "Observed") in [(event.type, event.reason) for event in mended.events]
    assert mended.conditions[0].status == "True"


@pytest.mark.parametrize(
    ("policy", "cordoned", "deleted", "done"),
    [("Drain", 2, 0, False), ("Immediate", 0, 1, False), ("Orphan", 0, 0, True), ("Nonsense", 2, 0, False)],
)
def test_deletion_needs_the_policy_and_the_fleet_only(policy: str, cordoned: int, deleted: int, *, done: bool) -> None:
    found = read_job_queue(wrong(deleting=True, deletionPolicy=policy))
    wound = plan(Observed(0.0, STORE, **FLEET), found, Memory())
    assert (len(wound.cordon), len(wound.deletions), wound.done) == (cordoned, deleted, done)


def test_deletion_does_not_wait_for_a_database_that_the_spec_does_not_name() -> None:
    found = read_job_queue(wrong(deleting=True, database=None))
    assert found.spec.database.secret_name == ""
    wound = plan(Observed(0.0, Unknown(INVALID_SPEC, "wrong"), **FLEET), found, Memory())
    assert [scale.replicas for scale in wound.scales] == [0]
    assert plan(Observed(0.0, Unknown(INVALID_SPEC, "wrong")), found, Memory()).done


@pytest.mark.parametrize("spec", [None, 5, {}, {"worker": {"template": {"metadata": None}}}])
def test_anything_can_be_named_and_deleted(spec: Any) -> None:
    value = wrong()
    value["spec"] = spec
    found = read_job_queue(value)
    assert (found.name, found.uid, found.spec.deletion_policy) == ("q", "u", DeletionPolicy.DRAIN)
    assert found.wrong


@pytest.mark.parametrize(
    ("template", "field"),
    [
        (None, "spec.worker.template: must be an object, not null"),
        ({"metadata": None}, "spec.worker.template.metadata: must be an object, not null"),
        ({"metadata": {"labels": None}}, "spec.worker.template.metadata.labels: must be an object"),
        ({"metadata": {"annotations": []}}, "spec.worker.template.metadata.annotations: must be an object"),
        ({"spec": []}, "spec.worker.template.spec: must be an object"),
        ({"spec": {"containers": None}}, "spec.worker.template.spec.containers: must be a list, not null"),
        ({"spec": {"containers": ["x"]}}, "spec.worker.template.spec.containers[0]: must be an object"),
        ({"spec": {"containers": [{}]}}, "spec.worker.template.spec.containers[0].name: must be a text"),
        ({"spec": {"containers": [{"name": "worker", "env": {}}]}}, "containers[0].env: must be a list"),
        ({"spec": {"containers": [{"name": "worker", "env": [1]}]}}, "containers[0].env[0]: must be an object"),
        ({"spec": {"initContainers": [{"name": "a", "volumeMounts": [{}]}]}}, "volumeMounts[0].mountPath: must be a text"),
    ],
)
def test_a_template_that_cannot_be_merged_is_named(template: Any, field: str) -> None:
    value = body()
    value["spec"]["worker"]["template"] = template
    with pytest.raises(SpecError) as caught:
        parse_job_queue(value)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "worker", "livenessProbe": None}]}},
        {"spec": {"containers": [{"name": "worker", "ports": [{"containerPort": 1}]}], "tolerations": None}},
    ],
)
def test_other_templates_are_taken(template: Any) -> None:
    value = body()
    value["spec"]["worker"]["template"] = template
    assert plan(Observed(0.0, STORE), parse_job_queue(value), Memory()).apply
