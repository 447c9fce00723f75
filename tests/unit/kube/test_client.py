"""What is written to a JobQueue, and to no other of its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from aiohttp import web

from rivermill_operator.control.loop import Loop, Ports
from rivermill_operator.control.turns import Turns
from rivermill_operator.control.wake import Wakes
from rivermill_operator.kube.client import KubeClient
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.metrics import Metrics
from rivermill_operator.model import names
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.plan.manifests import build
from rivermill_operator.store.port import Usage
from rivermill_operator.store.registry import Stores
from tests.unit.kube.conftest import Api

BODY: dict[str, Any] = {
    "metadata": {"name": "q", "namespace": "n", "uid": "u1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {
        "database": {"urlSecretRef": {"name": "db"}},
        "queues": [{"name": "default", "maxWorkers": 10}],
        "worker": {"image": "example/worker:1", "app": "library.jobs:workers"},
        "scaling": {"maxReplicas": 2},
    },
}
DSN = "postgresql://127.0.0.1:9/nobody"
Written = list[tuple[str, Any]]


def serve(api: Api, found: dict[str, Any] | None) -> Written:
    """Let the JobQueue be this one, or none; returns what is written."""
    written: Written = []

    async def handler(request: web.Request) -> web.Response:
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        if request.method != "GET":
            written.append((request.method, json.loads(await request.text())))
        return web.json_response(found)

    api.handler = handler
    return written


def found(uid: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": "7", "finalizers": ["other", "rivermill.dev/operator"]}}


def kube(rest: Rest) -> KubeClient:
    return KubeClient(rest, lambda _: None, "me", ())


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"decision": {"terms": {"a": 1}}}, {"decision": {"terms": {"a": 1}}}),
        (
            {"decision": {"terms": {"a": 1, "b": 2}, "won": "b"}},
            {"decision": {"terms": {"a": 3}, "won": "a"}},
            {"decision": {"terms": {"a": 3, "b": None}, "won": "a"}},
        ),
        ({"decision": {"terms": {"a": 1}}}, {"decision": {"terms": {}}}, {"decision": {"terms": {"a": None}}}),
        ({"decision": {"terms": {"a": 1}}, "backlog": {"waiting": 3}}, {"replicas": 1}, {"replicas": 1}),
        ({"conditions": [{"type": "a"}]}, {"conditions": [{"type": "b"}]}, {"conditions": [{"type": "b"}]}),
        ({"decision": None}, {"decision": {"terms": {}}}, {"decision": {"terms": {}}}),
    ],
)
async def test_fields_of_the_status_are_replaced(
    api: Api, rest: Rest, old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]
) -> None:
    written = serve(api, found("u1"))
    await kube(rest).write_status(parse_job_queue(BODY), new, old)
    assert written == [("PATCH", {"metadata": {"uid": "u1"}, "status": patch})]


async def make_and_apply(client: KubeClient) -> None:
    manifest = build(parse_job_queue(BODY)).deployment
    await client.make_deployment("n", manifest)
    await client.apply_deployment("n", manifest)


async def test_what_the_api_server_does_not_know_of_a_template_is_refused_and_not_dropped(api: Api, rest: Rest) -> None:
    serve(api, found("u1"))
    await make_and_apply(kube(rest))
    assert [(method, "fieldValidation=Strict" in path) for method, path in api.requests] == [("POST", True), ("PATCH", True)]


async def test_what_is_made_first_does_not_count_as_applied(api: Api, rest: Rest) -> None:
    """Else a Deployment whose apply is refused would be left as it was made."""
    written = serve(api, found("u1"))
    await make_and_apply(kube(rest))
    digests = [names.MANIFEST_ANNOTATION in manifest["metadata"]["annotations"] for _, manifest in written]
    assert digests == [False, True]


@pytest.mark.parametrize(("message", "note"), [("short", "short"), ("ä" * 999, "ä" * 512), ("a" + "ä" * 999, "a" + "ä" * 511)])
async def test_an_event_is_as_long_as_the_api_server_allows(api: Api, rest: Rest, message: str, note: str) -> None:
    written = serve(api, found("u1"))
    await kube(rest).emit_event(parse_job_queue(BODY), "Normal", "Scaling", message)
    ((_, event),) = written
    assert event["message"] == note


async def test_an_event_has_the_times_that_it_is_sorted_by(api: Api, rest: Rest) -> None:
    written = serve(api, found("u1"))
    await kube(rest).emit_event(parse_job_queue(BODY), "Normal", "Scaling", "m")
    ((_, event),) = written
    assert api.requests == [("POST", "/api/v1/namespaces/n/events")]
    assert (event["firstTimestamp"], event["count"]) == (event["lastTimestamp"], 1)
    assert event["eventTime"].startswith(event["firstTimestamp"].removesuffix("Z"))


@pytest.mark.parametrize(("there", "left"), [(found("u1"), ["other"]), (found("u2"), None), (None, None)])
async def test_only_our_finalizer_is_removed_and_only_from_this_object(
    api: Api, rest: Rest, there: dict[str, Any] | None, left: list[str] | None
) -> None:
    written = serve(api, there)
    await kube(rest).remove_finalizer(parse_job_queue(BODY))
    expected = [("PATCH", {"metadata": {"resourceVersion": "7", "finalizers": left}})]
    assert written == ([] if left is None else expected)


DEPLOYMENT, BUDGET = "/apis/apps/v1/namespaces/n/deployments/q-1", "/apis/policy/v1/namespaces/n/poddisruptionbudgets/q-1"


@pytest.mark.parametrize(
    ("failing", "asked"),
    [
        (None, [("PATCH", DEPLOYMENT), ("DELETE", BUDGET), ("DELETE", DEPLOYMENT)]),
        # It has changed, and may be needed: nothing of it is removed.
        (("PATCH", DEPLOYMENT, 409), [("PATCH", DEPLOYMENT)]),
        # Tried before, or never made.
        (("DELETE", BUDGET, 404), [("PATCH", DEPLOYMENT), ("DELETE", BUDGET), ("DELETE", DEPLOYMENT)]),
        # The Deployment tells that there is still something to remove.
        (("DELETE", BUDGET, 500), [("PATCH", DEPLOYMENT), ("DELETE", BUDGET)]),
        (("DELETE", DEPLOYMENT, 409), [("PATCH", DEPLOYMENT), ("DELETE", BUDGET), ("DELETE", DEPLOYMENT)]),
    ],
)
async def test_a_version_is_never_deleted_without_its_budget(
    api: Api, rest: Rest, failing: tuple[str, str, int] | None, asked: list[tuple[str, str]]
) -> None:
    bodies: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        text = await request.text()
        bodies.append(json.loads(text) if text else None)
        if failing is not None and (request.method, request.path) == failing[:2]:
            return web.json_response({"message": "no"}, status=failing[2])
        return web.json_response({"metadata": {"resourceVersion": "8"}})

    api.handler = handler
    fails = failing is not None and failing[2] != 404
    with pytest.raises(KubeError) if fails else contextlib.nullcontext():
        await kube(rest).delete_version("n", "q-1", "7")
    assert [(method, path.partition("?")[0]) for method, path in api.requests] == asked
    # Where it stays after all it is applied again, budget and all.
    assert bodies[0]["metadata"] == {"resourceVersion": "7", "annotations": {names.MANIFEST_ANNOTATION: None}}
    if len(asked) == 3:
        assert bodies[2]["preconditions"] == {"resourceVersion": "8"}


MANUAL = {"f:spec": {"f:scaling": {"f:manualReplicas": {}}}}
BY_SCALE = [{"fieldsV1": {}}, {"subresource": "scale", "fieldsV1": MANUAL}]


@pytest.mark.parametrize(
    ("uid", "generation", "owners", "cleared"),
    [
        ("u1", 1, BY_SCALE, True),
        ("u1", 2, BY_SCALE, False),
        ("u2", 1, BY_SCALE, False),
        # A manifest with the same number was applied since: the spec has not changed, and its generation neither.
        ("u1", 1, [*BY_SCALE, {"fieldsV1": MANUAL}], False),
    ],
)
async def test_replicas_set_by_hand_are_removed_from_the_spec_that_was_seen(
    api: Api, rest: Rest, uid: str, generation: int, owners: list[dict[str, Any]], *, cleared: bool
) -> None:
    """Not those that are set at that moment, nor another JobQueue's."""
    there = found(uid)
    there["metadata"] |= {"generation": generation, "managedFields": owners}
    written = serve(api, there)
    await kube(rest).clear_manual(parse_job_queue(BODY))
    patch = {"metadata": {"resourceVersion": "7"}, "spec": {"scaling": {"manualReplicas": None}}}
    assert written == ([("PATCH", patch)] if cleared else [])


@pytest.mark.parametrize("there", [found("u2"), None])
@pytest.mark.parametrize("namesake", [True, False])
async def test_the_loop_of_a_job_queue_that_is_gone_ends_and_writes_nothing(
    api: Api, rest: Rest, there: dict[str, Any] | None, *, namesake: bool
) -> None:
    """Nor does it take from another of its name what goes by that."""
    written = serve(api, there)
    wakes, key, younger = Wakes(), ("n", "q"), ("n", "younger")
    stores, metrics = Stores(wakes.wake), Metrics()
    ports = Ports(kube(rest), stores, wakes, metrics, Turns(1))
    deleting = BODY | {"metadata": BODY["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    old = Loop(key, lambda: deleting, ports)
    event = wakes.add(key) if namesake else None
    for user, created in ((key, "2026"), (younger, "2027")):
        stores.use(user, DSN, Usage(created, "public", frozenset({"default"})))
    metrics.decisions.labels(*key).inc()
    async with asyncio.timeout(10):
        await old.run()
    older = stores.older_user(younger, DSN)
    await stores.close()
    wakes.wake(key)
    assert written == []
    assert event is None or event.is_set()
    counted = metrics.registry.get_sample_value("rivermill_operator_decisions_total", {"namespace": "n", "jobqueue": "q"})
    assert (older, counted) == ((key, "default"), 1.0) if namesake else (None, None)
