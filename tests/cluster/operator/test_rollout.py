"""Roll-outs under load on a real cluster: nothing is interrupted, claims never stop, bad versions get no further."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.world import INTERRUPTED, World, enqueue, eventually, sql, unfinished


def set_environment(manifest: dict[str, Any], **values: str) -> dict[str, Any]:
    """The same fleet with other environment variables: another template."""
    changed: dict[str, Any] = json.loads(json.dumps(manifest))
    container = changed["spec"]["worker"]["template"]["spec"]["containers"][0]
    container["env"] += [{"name": name, "value": value} for name, value in values.items()]
    return changed


def versions(world: World) -> dict[str, int]:
    """Replicas by Deployment."""
    return {d["metadata"]["name"]: d["spec"]["replicas"] for d in world.get("deployments")["items"]}


@pytest.fixture
def loaded(world: World) -> tuple[World, dict[str, Any]]:
    world.migrate()
    world.secret(world.pod_url())
    manifest = world.job_queue(minReplicas=2)
    manifest["spec"]["rollout"] = {"gateSeconds": 3}
    return world, manifest


def test_a_rollout_interrupts_nothing_and_rolls_back_at_once(loaded: tuple[World, dict[str, Any]]) -> None:
    world, manifest = loaded
    with world.operator():
        world.apply(manifest)
        eventually(lambda: world.get("jobqueue", "library").get("status", {}).get("readyReplicas") == 2)
        (first,) = versions(world)
        enqueue(world, 8, 20)
        enqueue(world, 60, 0.5)
        eventually(lambda: sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") >= 8)
        world.apply(set_environment(manifest, RELEASE="2"))
        second = eventually(lambda: next((name for name in versions(world) if name != first), None))
        eventually(lambda: versions(world)[second] >= 2, 90)
        enqueue(world, 20, 0.2)
        # Its jobs take longer than the new pods need to start: the old version is there, drains, and goes.
        assert versions(world)[first] > 0
        eventually(lambda: versions(world)[first] == 0, 90)
        eventually(lambda: unfinished(world) == 0)
        assert sql(world, INTERRUPTED) == 0
        assert world.get("pdb")["items"]
        world.apply(manifest)
        eventually(lambda: versions(world)[first] >= 2)
        eventually(lambda: versions(world)[second] == 0, 90)
        reasons = {event["reason"] for event in world.get("events")["items"]}
        assert "VersionAccepted" in reasons
        assert "WrongVictim" not in reasons
        # What was returned to is the last version from then on: a trial has it beside it, and not what was rolled back.
        manifest["spec"]["rollout"] = {"gateSeconds": 600}
        world.apply(set_environment(manifest, RELEASE="3"))
        third = eventually(lambda: next((name for name in versions(world) if name not in (first, second)), None))
        eventually(lambda: versions(world)[third] == 1)
        assert (versions(world)[first] >= 2, versions(world)[second]) == (True, 0)


def test_a_version_that_fails_is_rejected_and_the_last_one_serves_on(loaded: tuple[World, dict[str, Any]]) -> None:
    world, manifest = loaded
    manifest["spec"]["rollout"] = {"gateSeconds": 600}
    with world.operator():
        world.apply(manifest)
        eventually(lambda: world.get("jobqueue", "library").get("status", {}).get("readyReplicas") == 2)
        (first,) = versions(world)
        enqueue(world, 30, 0)
        eventually(lambda: unfinished(world) == 0)
        # Known of the version before, by which the next one is measured, is what its heartbeats have told.
        eventually(lambda: sql(world, "SELECT sum((value ->> 'ended')::int) = 30 FROM rivermill_client, jsonb_each(queues)"))
        world.apply(set_environment(manifest, BROKEN="1"))
        second = eventually(lambda: next((name for name in versions(world) if name != first), None))
        eventually(lambda: versions(world)[second] == 1)

        def feed() -> bool:
            enqueue(world, 200, 0)
            return world.condition("WorkersAvailable") == ("False", "VersionRejected")

        eventually(feed, 90)
        eventually(lambda: versions(world)[second] == 0)
        assert versions(world)[first] >= 2
        told = [event["note"] for event in world.get("events.events.k8s.io")["items"] if event["reason"] == "VersionRejected"]
        assert len(told) == 1
        # Its five slots once, and what a claim brought meanwhile; the figures stay when its pod has gone.
        burnt = sql(world, f"SELECT count(*) FROM river_job, unnest(attempted_by) AS client WHERE client LIKE '{second}-%'")
        assert 3 <= burnt <= 10
        assert "failed 0 of 0" not in told[0]
        conditions = world.get("jobqueue", "library")["status"]["conditions"]
        assert told[0] in {condition["message"] for condition in conditions}
