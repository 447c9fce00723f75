"""``migrate: Apply``: a pod migrates the schema that keeps the queues from being read, and no more pods than help are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rivermill_operator.model.observed import DeploymentView, Observed, PodView, StoreView, Unknown, Verdict
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan import Memory, Plan, plan
from rivermill_operator.plan.manifests import build
from tests.unit.plan.build import body, client, deployment, depth, pod

OUTDATED = Unknown("SchemaOutdated", "Schema public is at {'main': 5}.")
AWAY = Unknown("DatabaseUnreachable", "gone.")


def applying(**scaling: int) -> JobQueue:
    value = body(**scaling)
    value["spec"]["database"]["migrate"] = "Apply"
    return parse_job_queue(value)


QUEUE = applying(maxReplicas=2)
LIVE = build(QUEUE).version


def look(store: StoreView | Unknown, memory: Memory, *fleet: tuple[DeploymentView, list[PodView]]) -> Plan:
    pods = tuple(one for _, group in fleet for one in group)
    return plan(Observed(0.0, store, tuple(made for made, _ in fleet), pods), QUEUE, memory)


def scales(done: Plan) -> list[tuple[str, int]]:
    return [(scale.deployment, scale.replicas) for scale in done.scales]


def fleet(replicas: int, version: str = LIVE) -> tuple[DeploymentView, list[PodView]]:
    return deployment(replicas, version), [pod(n, version) for n in range(replicas)]


def test_the_first_pod_migrates() -> None:
    fresh = look(OUTDATED, Memory())
    assert [item.name for item in fresh.apply] == [f"q-{LIVE}"]
    made = look(OUTDATED, fresh.memory, fleet(0))
    assert scales(made) == [(f"q-{LIVE}", 1)]
    assert made.decision.desired_replicas == 1
    assert made.decision.sentence == "1 pod: it migrates the schema before anything can be read."
    assert scales(look(OUTDATED, made.memory, fleet(1))) == []


def test_a_schema_that_was_whole_is_migrated_by_one_more_pod_and_no_second_one() -> None:
    """It is made beside a fleet of any size; what it could not mend, another could not either."""
    whole = look(StoreView((depth(),), (client(0), client(1))), Memory(), fleet(2))
    first = look(OUTDATED, whole.memory, fleet(2))
    assert scales(first) == [(f"q-{LIVE}", 3)]
    assert first.decision.sentence == "2 pods held, and one more: it migrates the schema before anything can be read."
    lost = look(OUTDATED, first.memory, fleet(2))
    assert scales(lost) == [(f"q-{LIVE}", 3)], "a write that failed is written again"
    memory = first.memory
    for store in (OUTDATED, AWAY, OUTDATED):
        later = look(store, memory, fleet(3))
        assert scales(later) == []
        memory = later.memory
    mended = look(StoreView((depth(),), (client(0), client(1), client(2))), memory, fleet(3))
    assert mended.decision.desired_replicas == 2
    assert scales(look(OUTDATED, mended.memory, fleet(2))) == [(f"q-{LIVE}", 3)]


def test_after_a_restart_the_pods_of_the_template_have_migrated() -> None:
    """Else each start of an operator would add a pod to a fleet whose image cannot mend the schema."""
    done = look(OUTDATED, Memory(), fleet(2))
    assert scales(done) == []
    assert done.decision.sentence.startswith("2 pods held: Schema public is older than the operator needs, although")


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.ACCEPTED])
def test_a_new_template_migrates_beside_the_old_one(verdict: Verdict) -> None:
    """The one that its user has set, not the one that serves: the old image may not know the version that is needed."""
    old = (deployment(2, "0ld"), [pod(1, "0ld"), pod(2, "0ld")])
    done = look(OUTDATED, Memory(desired=2), (deployment(0, LIVE, verdict=verdict), []), old)
    assert scales(done) == [(f"q-{LIVE}", 1)]
    made = (deployment(1, LIVE, verdict=verdict), [pod(3, LIVE, ready=False)])
    assert scales(look(OUTDATED, done.memory, made, old)) == []


def test_only_apply_migrates() -> None:
    queue = replace(QUEUE, spec=parse_job_queue(body()).spec)
    done = plan(Observed(0.0, OUTDATED, (deployment(0, build(queue).version),)), queue, Memory())
    assert (done.scales, done.memory.migrating) == ((), None)


def said(done: Plan) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]:
    return {c.type: (c.status, c.reason) for c in done.conditions}, [(event.type, event.reason) for event in done.events]


@pytest.mark.parametrize("store", [OUTDATED, Unknown("SchemaMissing", "no tables.")])
def test_a_first_start_is_no_reason_to_worry(store: Unknown) -> None:
    """It told, as a Warning, to set what was set."""
    fresh = look(store, Memory())
    conditions, events = said(fresh)
    assert {conditions[kind] for kind in ("Ready", "QueueObserved", "SchemaReady")} == {("False", "Migrating")}
    assert events == [("Normal", "Migrating")]
    assert "a pod migrates it before it works" in fresh.conditions[0].message
    starts = (deployment(1, LIVE, verdict=Verdict.PENDING), [pod(1, LIVE, ready=False)])
    made = look(store, fresh.memory, starts)
    assert said(made)[0]["Ready"] == ("False", "Migrating")
    assert made.decision.sentence == "1 pod held: the schema is migrated before anything can be read."
    done = look(StoreView((depth(),), (client(1),)), made.memory, (starts[0], [pod(1, LIVE)]))
    conditions, events = said(done)
    assert conditions["Ready"][0] == "True"
    assert ("Normal", "Observed") in events


def test_a_migration_that_fails_or_helps_nothing_is_told() -> None:
    fresh = look(OUTDATED, Memory())
    crashing = pod(1, LIVE, ready=False, trouble="CrashLoopBackOff", cause="container migrate ended with code 1.")
    failed = look(OUTDATED, fresh.memory, (deployment(1, LIVE), [crashing]))
    assert said(failed)[0]["WorkersAvailable"] == ("False", "CrashLoopBackOff")
    for done in (failed, look(OUTDATED, fresh.memory, fleet(1))):
        conditions, events = said(done)
        assert conditions["QueueObserved"] == conditions["SchemaReady"] == ("False", "SchemaOutdated")
        assert ("Warning", "SchemaOutdated") in events
        assert "although database.migrate is Apply: see what container migrate" in done.conditions[0].message


MISSING = Unknown("SchemaMissing", "db says no: run `rivermill migrate up` on this schema, or set database.migrate to Apply.")
NOBODY = ", and nothing migrates while mode is Observe: run `rivermill migrate up`, or set spec.mode to Scale."
NO_TABLES = "Schema public has no tables of River's and Rivermill's"


@pytest.mark.parametrize(
    ("store", "changes", "conflict", "message"),
    [
        (MISSING, {"mode": "Observe"}, None, NO_TABLES + NOBODY),
        (OUTDATED, {"mode": "Observe"}, None, f"Schema public is older than the operator needs{NOBODY}"),
        (MISSING, {"mode": "Observe"}, "an HPA", NO_TABLES + NOBODY),
        (MISSING, {}, "an HPA", f"{NO_TABLES}."),
        (OUTDATED, {}, "an HPA", "Schema public is older than the operator needs."),
        (MISSING, {"deleting": True}, None, f"{NO_TABLES}."),
        (MISSING, {"migrate": "Verify", "mode": "Observe"}, None, MISSING.message),
        (MISSING, {"migrate": "Verify"}, "an HPA", MISSING.message),
    ],
)
def test_where_nothing_is_written_nobody_migrates(
    store: Unknown, changes: dict[str, Any], conflict: str | None, message: str
) -> None:
    """It told to set what was set, or to look into the log of a pod that is not made."""
    value = body()
    value["spec"] |= {"mode": changes.get("mode", "Scale")}
    value["spec"]["database"]["migrate"] = changes.get("migrate", "Apply")
    queue = replace(parse_job_queue(value), deleting=changes.get("deleting", False))
    done = plan(Observed(0.0, store, conflict=conflict), queue, Memory())
    observed, schema = (found := {c.type: c for c in done.conditions})["QueueObserved"], found["SchemaReady"]
    assert (observed.reason, observed.message) == (schema.reason, schema.message) == (store.reason, message)
    if not queue.deleting:
        assert ("Warning", store.reason, message) in [(event.type, event.reason, event.message) for event in done.events]
