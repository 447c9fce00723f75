"""The operator on a real Kubernetes: scaling, draining, mistakes, deletion, hand-over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.cluster.world import INTERRUPTED, ROOT, World, enqueue, eventually, sql, unfinished


def test_scales_out_works_drains_and_goes(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    with world.operator():
        world.apply(world.job_queue())
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired"))
        row = world.kubectl("get", "jobqueue").stdout.splitlines()[1].split()
        assert (row[:2], row[-2]) == (["library", "Scale"], "AsDesired")
        assert world.replicas() == 0
        enqueue(world, 40, 0.5)
        enqueue(world, 1, 25)
        eventually(lambda: world.replicas() == 3)
        eventually(lambda: unfinished(world) == 1)
        # The long job holds its pod, and one may stay for further arrivals; what is left drains and goes.
        eventually(lambda: world.replicas() <= 2)
        assert unfinished(world) == 1
        eventually(lambda: unfinished(world) == 0)
        eventually(lambda: world.replicas() == 0)
        assert sql(world, INTERRUPTED) == 0
        explained = subprocess.run(
            [sys.executable, "-m", "coverage", "run", "-m", "rivermill_operator", "explain", f"{world.namespace}/library"],
            env=os.environ | {"KUBECONFIG": str(world.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert "nothing to do" in explained.stdout
        assert "Ready=True" in explained.stdout
        events = [event for event in world.get("events")["items"] if event["involvedObject"]["kind"] == "JobQueue"]
        assert "Scaling" in {event["reason"] for event in events}
        assert all(event["firstTimestamp"] and event["lastTimestamp"] for event in events)


def test_kubectl_scale_can_be_repeated_when_its_time_is_over(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())

    def manual() -> int | None:
        number: int | None = world.get("jobqueue", "library")["spec"]["scaling"].get("manualReplicas")
        return number

    with world.operator():
        world.apply(world.job_queue(manualSeconds=5))
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired"))
        for _ in range(2):
            world.kubectl("scale", "jobqueue/library", "--replicas=1")
            assert manual() == 1
            eventually(lambda: world.replicas() == 1)
            eventually(lambda: manual() is None)
            eventually(lambda: world.replicas() == 0)
        told = [event for event in world.get("events")["items"] if event["reason"] == "ManualReplicasOver"]
        assert len(told) == 2


def test_deletion_drains_and_leaves_nothing_running(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    with world.operator():
        world.apply(world.job_queue())
        eventually(lambda: world.condition("Ready")[0] == "True")
        enqueue(world, 12, 4)
        eventually(lambda: sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") > 0)
        world.kubectl("delete", "jobqueue", "library", "--timeout=60s")
        assert sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") == 0
        # Each has begun once or never: of one that was given back a name is left, and no attempt.
        again = "attempt > 1 OR attempt <> coalesce(cardinality(attempted_by), 0)"
        assert sql(world, f"SELECT count(*) FROM river_job WHERE {again}") == 0
        assert world.get("deployments")["items"] == []


def test_mistakes_are_named_and_mended(world: World) -> None:
    with world.operator():
        world.apply(world.job_queue())
        eventually(lambda: world.condition("QueueObserved") == ("False", "SecretNotFound"))
        world.secret("mysql://nonsense")
        eventually(lambda: world.condition("QueueObserved") == ("False", "InvalidDatabaseURL"))
        right = world.pod_url()
        password = right.split(":")[2].split("@")[0]
        world.secret(right.replace(password, "wrong"))
        eventually(lambda: world.condition("QueueObserved") == ("False", "AuthenticationFailed"))
        world.secret(right)
        eventually(lambda: world.condition("SchemaReady") == ("False", "SchemaMissing"))
        assert world.replicas() == 0
        world.migrate()
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired"))
        status = json.dumps(world.get("jobqueue", "library")["status"])
        events = json.dumps(world.get("events"))
        reasons = {event["reason"] for event in world.get("events")["items"]}
        assert {"SecretNotFound", "InvalidDatabaseURL", "AuthenticationFailed", "SchemaMissing"} <= reasons
        assert password not in status + events + (world.logs / "one.log").read_text()


def test_another_replica_takes_over(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    with world.operator("one") as first:
        eventually(lambda: world.kubectl("get", "lease", "rivermill-operator", check=False).returncode == 0)
        assert world.get("lease", "rivermill-operator")["spec"]["holderIdentity"] == "one"
        with world.operator("two"):
            world.apply(world.job_queue())
            eventually(lambda: world.condition("Ready")[0] == "True")
            first.send_signal(signal.SIGKILL)
            first.wait()
            enqueue(world, 15, 1)
            eventually(lambda: world.replicas() > 0, 90)
            eventually(lambda: unfinished(world) == 0, 90)
            eventually(lambda: world.replicas() == 0, 90)
            assert world.get("lease", "rivermill-operator")["spec"]["holderIdentity"] == "two"


def test_an_operator_that_is_told_to_end_hands_over_at_once(world: World) -> None:
    """With a JobQueue whose loop runs: nothing but the operator itself can tell it to end."""
    world.migrate()
    world.secret(world.pod_url())
    with world.operator("one") as first:
        world.apply(world.job_queue(minReplicas=1))
        eventually(lambda: world.condition("Ready")[0] == "True")
        first.send_signal(signal.SIGTERM)
        assert first.wait(10) == 0
        assert world.get("lease", "rivermill-operator")["spec"]["holderIdentity"] == ""
        with world.operator("two"):
            eventually(lambda: world.get("lease", "rivermill-operator")["spec"]["holderIdentity"] == "two", 10)


def test_an_autoscaler_of_the_job_queue_itself_is_a_conflict(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    with world.operator():
        world.apply(world.job_queue())
        eventually(lambda: world.condition("Ready")[0] == "True")
        target = {"apiVersion": "rivermill.dev/v1alpha1", "kind": "JobQueue", "name": "library"}
        world.apply(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "library"},
                "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2},
            }
        )
        eventually(lambda: world.condition("Ready") == ("False", "AnotherWriter"))
        world.kubectl("delete", "hpa", "library")
        eventually(lambda: world.condition("Ready")[0] == "True")


def test_another_autoscaler_is_a_conflict(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    with world.operator():
        world.apply(world.job_queue())
        eventually(lambda: world.condition("Ready")[0] == "True")
        (deployment,) = world.get("deployments")["items"]
        world.kubectl("autoscale", "deployment", deployment["metadata"]["name"], "--min=1", "--max=2", "--cpu=50%")
        eventually(lambda: world.condition("TargetConflict")[0] == "True")
        before = world.get("deployment", deployment["metadata"]["name"])["metadata"]["generation"]
        enqueue(world, 30, 0)
        time.sleep(5.0)  # many decisions
        assert world.get("deployment", deployment["metadata"]["name"])["metadata"]["generation"] == before
        world.kubectl("delete", "hpa", deployment["metadata"]["name"])
        eventually(lambda: world.condition("TargetConflict")[0] != "True")
        eventually(lambda: unfinished(world) == 0, 90)


def test_a_spec_that_only_the_operator_sees_through_is_told_and_goes(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    right = world.job_queue(minReplicas=1)
    schedule = {"cron": "0 8 * * *", "durationSeconds": 60, "replicas": 1, "timeZone": "Mars/Olympus"}
    with world.operator():
        world.apply(right)
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired") and world.replicas() == 1)
        world.apply(world.job_queue(minReplicas=1, schedules=[schedule]))
        eventually(lambda: world.condition("Ready") == ("False", "InvalidSpec"))
        assert "schedules[0].timeZone: 'Mars/Olympus'" in json.dumps(world.get("jobqueue", "library")["status"])
        eventually(lambda: "InvalidSpec" in {event["reason"] for event in world.get("events")["items"]})
        assert world.replicas() == 1
        world.kubectl("delete", "jobqueue", "library", "--timeout=90s")
        assert world.get("deployments")["items"] == []


@pytest.mark.parametrize("field", ["restartPolicy", "nodeSelektor"])
def test_a_template_that_the_api_server_refuses_is_told_and_mended(world: World, field: str) -> None:
    """Because of what it says, or because of a field that does not exist."""
    world.migrate()
    world.secret(world.pod_url())
    wrong = world.job_queue()
    wrong["spec"]["worker"]["template"]["spec"][field] = "Never"
    with world.operator():
        world.apply(wrong)
        eventually(lambda: world.condition("Ready") == ("False", "WriteRefused"))
        assert f"spec.worker.template.spec.{field}" in json.dumps(world.get("jobqueue", "library")["status"]["conditions"])
        eventually(lambda: "WriteRefused" in {event["reason"] for event in world.get("events")["items"]})
        world.apply(world.job_queue())
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired"))


def test_pods_that_a_quota_refuses_are_told(world: World) -> None:
    world.migrate()
    world.secret(world.pod_url())
    world.kubectl("create", "quota", "none", "--hard=pods=0")
    with world.operator():
        world.apply(world.job_queue(minReplicas=1))
        eventually(lambda: world.condition("Ready") == ("False", "FailedCreate"))
        assert "exceeded quota" in json.dumps(world.get("jobqueue", "library")["status"]["conditions"])
        world.kubectl("delete", "quota", "none")
        eventually(lambda: world.condition("Ready") == ("True", "AsDesired"), 120)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": {}}, "spec.scaling.maxReplicas"),
        (
            {"scaling": {"maxReplicas": 1, "minReplicas": 2}},
            "spec.scaling.minReplicas must not be above maxReplicas",
        ),
        ({"queues": [{"name": "a", "maxWorkers": 1}, {"name": "a", "maxWorkers": 1}]}, "spec.queues"),
        ({"database": {"urlSecretRef": {"name": "db"}, "schema": 'a"b'}}, "spec.database.schema must be"),
        ({"queues": [{"name": "A", "maxWorkers": 1}]}, "spec.queues name must be"),
        ({"queues": [{"name": "a", "maxWorkers": 1, "targetWaitSeconds": 0}]}, "targetWaitSeconds must be 0.1 or more"),
        ({"queues": [{"name": "a", "maxWorkers": 1, "expectedJobSeconds": 0}]}, "expectedJobSeconds must be 0.001 or more"),
        (
            {"scaling": {"maxReplicas": 1, "schedules": [{"cron": "0 8 * * MON", "durationSeconds": 60, "replicas": 1}]}},
            "spec.scaling.schedules cron must be",
        ),
        ({"worker": {"image": "i", "app": "a:b", "pollInterval": "0s"}}, "spec.worker.pollInterval must be from 1ms"),
        ({"worker": {"image": "i", "app": "a:b", "shutdownTimeout": "9000h"}}, "spec.worker.shutdownTimeout must be from"),
        ({"worker": {"image": "i", "app": "a:b", "shutdownTimeout": "5 minutes"}}, "such as 500ms, 30s, 5m or 1h30m"),
        ({"scaling": {"maxReplicas": 1, "scaleIn": {"maxStep": 0}}}, "spec.scaling.scaleIn.maxStep must be a number of pods"),
        ({"rollout": {"maxSurge": "a"}}, "spec.rollout.maxSurge must be a number of pods from 1, such as 2, or a percentage"),
        (
            {"scaling": {"maxReplicas": 1, "schedules": [{"cron": "0 25 * * *", "durationSeconds": 60, "replicas": 1}]}},
            "spec.scaling.schedules cron must be minute 0-59, hour 0-23",
        ),
        (
            {"scaling": {"maxReplicas": 1, "schedules": [{"cron": "0 8 * * *", "durationSeconds": 60, "replicas": 2}]}},
            "spec.scaling.schedules replicas must not be above maxReplicas: raise maxReplicas or lower replicas",
        ),
        ({"database": {"urlSecretRef": {"name": "My_Secret"}}}, "spec.database.urlSecretRef name must be lower case"),
        ({"database": {"urlSecretRef": {"name": "db", "key": "a/b"}}}, "spec.database.urlSecretRef key must be letters"),
    ],
)
def test_wrong_job_queues_are_refused(cluster: Any, images: None, change: dict[str, Any], message: str) -> None:
    manifest = World(cluster, None, "default", ROOT).job_queue()  # type: ignore[arg-type]
    manifest["spec"] |= change
    refused = cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=json.dumps(manifest), check=False)
    assert refused.returncode != 0
    assert message in refused.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"scaling": {"maxReplicas": 3, "scaleIn": {"maxStep": 2}}, "rollout": {"maxSurge": 1}},
        {"scaling": {"maxReplicas": 3, "scaleIn": {"maxStep": "50%"}}, "rollout": {"maxSurge": "1"}},
        {
            "scaling": {
                "maxReplicas": 3,
                "schedules": [{"cron": "*/15 0-6,23 1,15 * 1-5", "durationSeconds": 60, "replicas": 3}],
            }
        },
        {"queues": [{"name": "a", "maxWorkers": 1, "targetWaitSeconds": 1, "expectedJobSeconds": 0.001}]},
    ],
)
def test_right_job_queues_are_taken(cluster: Any, images: None, change: dict[str, Any]) -> None:
    manifest = World(cluster, None, "default", ROOT).job_queue()  # type: ignore[arg-type]
    manifest["spec"] |= change
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=json.dumps(manifest))
