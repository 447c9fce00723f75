"""What keeps workers away, and what could not be looked at, in the words of conditions."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill_operator.model.observed import Observed, StoreView, Unknown
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.plan.reasons import conditions
from rivermill_operator.plan.versions import LOWEST_COST
from tests.unit.plan.build import VERSION, body, client, deployment, depth, job_queue, pod

QUOTA = 'pods "q-1" is forbidden: exceeded quota: none'
NO_NODE = "0/3 nodes are available: 3 Insufficient cpu."
REFUSAL = "apply q-1: 422 PATCH /apis/apps/v1: spec.template.spec.containers: Required value"


def decided(memory: Memory | None = None, **world: Any) -> Plan:
    values = {"store": StoreView((depth(),)), "deployments": (deployment(1),), "pods": (pod(1),), **world}
    observed = Observed(0.0, **values)
    return plan(observed, job_queue(minReplicas=1), memory or Memory())


@pytest.mark.parametrize(
    ("world", "reason", "message"),
    [
        ({}, "Healthy", "No worker pod"),
        ({"refused": REFUSAL}, "WriteRefused", REFUSAL),
        ({"deployments": (deployment(1, failure=QUOTA),), "pods": ()}, "FailedCreate", QUOTA),
        ({"pods": (pod(1, ready=False, trouble="ErrImagePull"),)}, "ErrImagePull", "Pod p1"),
        ({"pods": (pod(1, ready=False, scheduled=False, unplaced=NO_NODE),)}, "Unschedulable", f"p1 has no node: {NO_NODE}"),
        # The scheduler has not looked at it yet.
        ({"pods": (pod(1, ready=False, scheduled=False),)}, "Healthy", "No worker pod"),
        ({"pods": (pod(1, ready=False, age_seconds=120.0),)}, "Healthy", "No worker pod"),
        ({"pods": (pod(1, ready=False, age_seconds=121.0),)}, "NotReady", "Pod p1 runs and does not become Ready"),
        ({"pods": (pod(1, ready=False, started=False, age_seconds=121.0),)}, "NotReady", "Pod p1 has not started"),
        # Its container was restarted a moment ago; it drains.
        ({"pods": (pod(1, ready=False, age_seconds=999.0, unready_seconds=5.0),)}, "Healthy", "No worker pod"),
        ({"pods": (pod(1, ready=False, age_seconds=999.0, warm=True),)}, "Healthy", "No worker pod"),
        # It is cut off from the database, which is there; or it drains.
        ({"pods": (pod(1, ready=False, warm=True, unready_seconds=119.0),)}, "Healthy", "No worker pod"),
        ({"pods": (pod(1, ready=False, warm=True, unready_seconds=121.0),)}, "NotReady", "Pod p1 was Ready"),
        (
            {"pods": (pod(1, ready=False, warm=True, unready_seconds=121.0, deletion_cost=LOWEST_COST),)},
            "Healthy",
            "No worker pod",
        ),
        # A pod that is there says more than one that is not.
        (
            {"deployments": (deployment(2, failure=QUOTA),), "pods": (pod(1, ready=False, trouble="CrashLoopBackOff"),)},
            "CrashLoopBackOff",
            "Pod p1",
        ),
        # Where a write is refused, what is there may be of another spec.
        ({"refused": REFUSAL, "pods": (pod(1, ready=False, trouble="ErrImagePull"),)}, "WriteRefused", REFUSAL),
    ],
)
def test_what_keeps_workers_away(world: dict[str, Any], reason: str, message: str) -> None:
    found = {c.type: c for c in decided(**world).conditions}
    assert found["WorkersAvailable"].reason == reason
    assert message in found["WorkersAvailable"].message
    well = "AsDesired" if all(pod.ready for pod in world.get("pods", ())) else "PodsStarting"
    assert (found["Ready"].status, found["Ready"].reason) == (("True", well) if reason == "Healthy" else ("False", reason))


@pytest.mark.parametrize(
    ("mode", "replicas", "pods", "reason", "message"),
    [
        ("Scale", 0, (), "AsDesired", "The database is observed, and the fleet follows it."),
        ("Scale", 2, (pod(1), pod(2)), "AsDesired", "The database is observed, and the fleet follows it."),
        ("Scale", 4, (), "PodsStarting", "The database is observed; so far 0 of 4 pods are Ready."),
        ("Scale", 1, (pod(1, ready=False),), "PodsStarting", "The database is observed; so far 0 of 1 pod are Ready."),
        (
            "Scale",
            3,
            (pod(1), pod(2, deleting=True), pod(3, ready=False)),
            "PodsStarting",
            "The database is observed; so far 1 of 3 pods is Ready.",
        ),
        ("Observe", 4, (), "ModeObserve", "The database is observed, and nothing is scaled, for spec.mode is Observe."),
    ],
)
def test_a_fleet_that_is_well_says_how_far_it_is(
    mode: str, replicas: int, pods: tuple[Any, ...], reason: str, message: str
) -> None:
    value = body(minReplicas=replicas)
    value["spec"]["mode"] = mode
    seen = Observed(0.0, StoreView((depth(),)), (deployment(replicas),), pods)
    ready = plan(seen, parse_job_queue(value), Memory()).conditions[0]
    assert (ready.type, ready.status, ready.reason, ready.message) == ("Ready", "True", reason, message)


def test_while_the_database_is_away_no_pod_is_blamed() -> None:
    cut_off = (pod(1, ready=False, warm=True, unready_seconds=999.0),)
    found = {c.type: c for c in decided(store=Unknown("DatabaseUnreachable", "gone."), pods=cut_off).conditions}
    assert found["WorkersAvailable"].reason == "Healthy"


def test_a_refusal_is_an_event_once_and_told_when_it_is_over() -> None:
    first = decided(refused=REFUSAL)
    assert ("Warning", "WriteRefused") in [(event.type, event.reason) for event in first.events]
    again = decided(first.memory, refused=REFUSAL)
    assert "WriteRefused" not in [event.reason for event in again.events]
    over = decided(again.memory)
    assert ("Normal", "Healthy") in [(event.type, event.reason) for event in over.events]


def test_who_could_not_be_looked_for_is_unknown_and_the_fleet_is_scaled_on() -> None:
    blind = decided(unlooked="Nobody could look.", pods=(), deployments=(deployment(0),))
    found = {c.type: (c.status, c.reason) for c in blind.conditions}
    assert found["TargetConflict"] == ("Unknown", "ScalersUnreadable")
    assert found["Ready"] == ("False", "ScalersUnreadable")
    assert [scale.replicas for scale in blind.scales] == [1]


def test_a_version_that_is_refused_is_not_asked_for_without_a_pause() -> None:
    fresh = plan(Observed(0.0, StoreView((depth(),))), job_queue(), Memory())
    assert fresh.apply
    assert fresh.wake_after > 1.0


@pytest.mark.parametrize(("refused", "scaled"), [(REFUSAL, [("q-" + VERSION, 3)]), (None, [])])
def test_while_a_template_is_refused_the_last_one_goes_on(refused: str | None, scaled: list[tuple[str, int]]) -> None:
    value = body(minReplicas=3)
    value["spec"]["worker"]["image"] = "another"
    world = Observed(0.0, StoreView((depth(),), (client(1),)), (deployment(1),), (pod(1),), refused=refused)
    found = plan(world, parse_job_queue(value), Memory())
    assert found.apply, "the new one is tried again"
    assert [(scale.deployment, scale.replicas) for scale in found.scales] == scaled


def test_conditions_have_a_fixed_order() -> None:
    observed = Observed(0.0, StoreView((depth(),)), (deployment(1),), (pod(1),))
    found = conditions(job_queue(), observed, decided().decision)
    assert [c.type for c in found] == [
        "Ready",
        "QueueObserved",
        "SchemaReady",
        "ScalingActive",
        "ScalingLimited",
        "WorkersAvailable",
        "TargetConflict",
    ]


@pytest.mark.parametrize(
    ("refusals", "told"),
    [
        # The spec was changed, and is wrong in another way.
        (["make Deployment q-1: one", "make Deployment q-1: one", "make Deployment q-2: two"], [0, 2]),
        (["make Deployment q-1: one", "apply Deployment q-1: one"], [0, 1]),
        # The number and the pod are other ones whenever it is tried again.
        (["scale q-1 to 7: no", "scale q-1 to 9: no", "scale q-1 to 8: no"], [0]),
        (["annotate pod p-abc with its deletion cost: no", "annotate pod p-xyz with its deletion cost: no"], [0]),
        (["scale q-1 to 7: no", "make Deployment q-1: one", "make Deployment q-1: one"], [0, 1]),
    ],
)
def test_another_refusal_of_a_template_is_told(refusals: list[str], told: list[int]) -> None:
    memory, events, turns = Memory(), [], set()
    for refused in refusals:
        done = decided(memory, refused=refused)
        memory = done.memory
        events += [event.message for event in done.events if event.reason == "WriteRefused"]
        turns.add(memory.conditions)
    assert events == [f"The API server refused to {refusals[number]}" for number in told]
    assert len(turns) == len(told)


def away(reason: str, message: str) -> Unknown:
    return Unknown(reason, message, since_seconds=9.0)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        # Another mistake in the same Secret.
        ("InvalidDatabaseURL", ["one", "two"]),
        ("SecretKeyMissing", ["one", "two"]),
        # What a server says of its trouble may be new at each look.
        ("DatabaseUnreachable", ["one"]),
        ("DatabaseError", ["one"]),
    ],
)
def test_another_mistake_for_the_same_reason_is_told(reason: str, told: list[str]) -> None:
    memory, events = Memory(), []
    for message in ("one", "one", "two", "two"):
        done = decided(memory, store=away(reason, message))
        memory = done.memory
        events += [event.message for event in done.events if event.reason == reason]
    assert events == told


@pytest.mark.parametrize(
    ("older", "cordoned", "reason"),
    [
        # On trial, and kept for a roll back.
        (2, 0, "RollingOut"),
        (0, 0, "AsDesired"),
        # They finish their jobs: column DRAINING.
        (2, 1, "RollingOut"),
        (2, 2, "AsDesired"),
    ],
)
def test_a_rollout_is_seen(older: int, cordoned: int, reason: str) -> None:
    versions = (deployment(1), deployment(older, "0ld", live_seconds=900.0))
    old = range(2, 2 + older)
    clients = [client(n, wanted_state="cordoned" if n - 2 < cordoned else "accepting") for n in old]
    store = StoreView((depth(),), (client(1), *clients))
    pods = (pod(1), *(pod(n, "0ld") for n in old))
    ready = decided(store=store, deployments=versions, pods=pods).conditions[0]
    assert (ready.status, ready.reason) == ("True", reason)
