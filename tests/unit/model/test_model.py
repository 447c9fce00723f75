"""Parsing the resource, its status, and names."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from rivermill_operator.model import names
from rivermill_operator.model.parse import SpecError, parse_job_queue
from rivermill_operator.model.status import Condition, merge_conditions
from tests.unit.plan.build import body


def test_defaults() -> None:
    spec = parse_job_queue(body()).spec
    assert (spec.database.schema, spec.database.secret_key, spec.worker.max_attempts) == ("public", "url", 25)
    assert spec.worker.shutdown_timeout == 30.0


def test_slots_default_to_the_sum() -> None:
    value = body()
    del value["spec"]["worker"]["slots"]
    assert parse_job_queue(value).spec.worker.slots == 30


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("scaling", "maxReplicas"), None, "spec.scaling.maxReplicas: must be a number from 1, not null"),
        (("queues",), [{"name": "a", "maxWorkers": 1, "targetWaitSeconds": 0}], "must be a number from 0.1, not 0"),
        (
            ("queues",),
            [{"name": "a", "maxWorkers": 1, "expectedJobSeconds": 0}],
            "expectedJobSeconds: must be a number from 0.001, not 0",
        ),
        (("queues",), [{"name": "a", "maxWorkers": "x"}], "maxWorkers: must be a number from 1 to 10000, not 'x'"),
        (("scaling", "minReplicas"), 21, "spec.scaling.minReplicas: 21 is above maxReplicas 20: raise maxReplicas"),
        (
            ("scaling", "schedules"),
            [{"cron": "0 8 * * *", "durationSeconds": 60, "replicas": 21}],
            "spec.scaling.schedules[0].replicas: 21 is above maxReplicas 20: raise maxReplicas or lower it",
        ),
        (("scaling", "scaleIn"), {"maxStep": 0}, "spec.scaling.scaleIn.maxStep: '0' is neither a number of pods"),
        (("scaling", "scaleIn"), {"maxStep": True}, "spec.scaling.scaleIn.maxStep: must be a text that is not empty, not True"),
        (("scaling", "scaleIn"), {"maxStep": "all"}, "spec.scaling.scaleIn.maxStep: 'all' is neither a number of pods"),
        (("rollout",), {"maxSurge": "0"}, "spec.rollout.maxSurge: '0' is neither a number of pods nor a percentage"),
        (("database", "schema"), 'a"b', "spec.database.schema: 'a\"b' cannot be one: use letters, digits and _"),
        (("database", "urlSecretRef"), {}, "spec.database.urlSecretRef.name: must be a text that is not empty, not null"),
        (
            ("database", "urlSecretRef"),
            {"name": "../../other/secrets/db"},
            "name: '../../other/secrets/db' cannot be one: use lower",
        ),
        (("database", "urlSecretRef"), {"name": "db", "key": "a/b"}, "spec.database.urlSecretRef.key: 'a/b' cannot be one"),
        (("queues",), [], "spec.queues: name at least one"),
        (("queues",), [{"name": "a", "maxWorkers": 1}] * 2, "spec.queues: 'a' stands twice"),
        (("queues",), [{"name": "a"}], "spec.queues[0].maxWorkers"),
        (("worker", "pollInterval"), "soon", "spec.worker.pollInterval"),
        (("worker", "pollInterval"), "0s", "spec.worker.pollInterval: '0s' is not within 1ms to 8760h"),
        (("worker", "shutdownTimeout"), "8760h1s", "spec.worker.shutdownTimeout: '8760h1s' is not within"),
        (("worker",), 5, "spec.worker: must be an object, not 5"),
    ],
)
def test_mistakes_name_their_field(path: tuple[str, ...], value: Any, message: str) -> None:
    wrong = deepcopy(body())
    target = wrong["spec"]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(SpecError) as caught:
        parse_job_queue(wrong)
    assert message in str(caught.value)


def test_pods_may_be_a_number() -> None:
    value = body(scaleIn={"maxStep": 2})
    value["spec"]["rollout"] = {"maxSurge": 3}
    spec = parse_job_queue(value).spec
    assert (spec.scaling.scale_in.max_step, spec.rollout.max_surge) == ("2", "3")


def _owner(subresource: str | None, field: str) -> dict[str, Any]:
    entry = {"manager": "m", "fieldsV1": {"f:spec": {"f:scaling": {f"f:{field}": {}}}}}
    return entry if subresource is None else {**entry, "subresource": subresource}


@pytest.mark.parametrize(
    ("owners", "by_scale"),
    [
        # A write through the scale subresource to a field that nobody owns leaves it so.
        ([_owner(None, "maxReplicas")], True),
        ([_owner(None, "maxReplicas"), _owner("scale", "manualReplicas")], True),
        ([_owner(None, "manualReplicas")], False),
        # The same number stands in a manifest.
        ([_owner(None, "manualReplicas"), _owner("scale", "manualReplicas")], False),
        # Who wrote the spec is not known.
        ([], False),
        ([{"manager": "m", "subresource": "status"}], False),
    ],
)
def test_who_set_the_replicas_is_known(owners: list[dict[str, Any]], *, by_scale: bool) -> None:
    value = body(manualReplicas=3)
    value["metadata"]["managedFields"] = owners
    assert parse_job_queue(value).by_scale is by_scale


def test_names_fit_and_differ() -> None:
    long = "x" * 100
    assert len(names.deployment_name(long, "12345678")) <= 49
    dotted = "x." * 50
    assert len(names.deployment_name(dotted, "12345678")) <= 49
    alike = ["a.b.c", "a-b.c", "a.b-c", "a-b-c", dotted, dotted.replace(".", "-")]
    found = {names.deployment_name(name, "12345678") for name in alike}
    assert len(found) == len(alike)
    assert not any("." in name for name in found)
    # As they have always been.
    assert names.deployment_name("a-b-c", "12345678") == "a-b-c-12345678"
    assert names.shorten(long, 63) != names.shorten(long + "y", 63)
    assert all(len(v) <= 63 for v in names.labels(long, "12345678").values())


def test_transition_times_change_with_the_status_only() -> None:
    first = merge_conditions([], [Condition("Ready", "True", "A", "a")], 1, "t1")
    second = merge_conditions(first, [Condition("Ready", "True", "B", "b")], 2, "t2")
    third = merge_conditions(second, [Condition("Ready", "False", "C", "c")], 2, "t3")
    assert [c[0]["lastTransitionTime"] for c in (first, second, third)] == ["t1", "t1", "t3"]
