"""Fleets that grow, shrink and change their version under load: goals are met and nothing is interrupted.

Each has a short form here and its full form in the tier of long tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rivermill_operator.simulate.matrix import simulate
from rivermill_operator.simulate.outcome import measure
from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace
from tests.cluster.operator.test_rollout import set_environment, versions
from tests.cluster.world import INTERRUPTED, World, enqueue, eventually, ready, sql, unfinished

LATE = "SELECT count(*) FROM river_job WHERE attempted_at - scheduled_at > make_interval(secs => $1)"
#: Claims while at least one job waited: the longest time without one, in seconds.
LONGEST_PAUSE = """
WITH claim AS (SELECT attempted_at AS at, lag(attempted_at) OVER (ORDER BY attempted_at) AS before FROM river_job)
SELECT coalesce(extract(epoch FROM max(claim.at - claim.before)), 0)::float8 FROM claim
WHERE claim.before > $1 AND claim.at <= $2
  AND EXISTS (SELECT FROM river_job AS waiting WHERE waiting.scheduled_at < claim.before AND waiting.attempted_at >= claim.at)
"""


@pytest.fixture
def operated(world: World) -> Iterator[World]:
    with world.operator():
        ready(world)
        yield world


def pods(world: World) -> set[str]:
    return {pod["metadata"]["name"] for pod in world.get("pods")["items"]}


def reachable(jobs: int, seconds: float, goal: float) -> float:
    """The share of jobs within the goal that the simulator promises, on pods that start as they do on this cluster."""
    trace = make_trace([(0.0, seconds, 0, 1, 0.0)] * jobs)
    start = PodStart(2.0, 4.0, together=0.5)
    workload = Workload("dump", (QueueSettings("default", goal, 10),), 10, trace, 300.0, 6, start)
    return min(measure(simulate(workload, "rivermill", seed)).share for seed in range(1, 4))


@pytest.mark.parametrize(("jobs", "written"), [(500, 5.0), pytest.param(5_000, 1.0, marks=pytest.mark.long)])
def test_a_dump_on_an_idle_queue_meets_the_goal(operated: World, jobs: int, written: float) -> None:
    """``written``: seconds until replicas are, in which each look at them from here takes a fifth of one."""
    goal = 20
    assert reachable(jobs, 0.1, goal) == 1.0
    manifest = operated.job_queue(maxReplicas=6)
    manifest["spec"]["queues"] = [{"name": "default", "maxWorkers": 10, "targetWaitSeconds": goal, "expectedJobSeconds": 0.1}]
    operated.apply(manifest)
    eventually(lambda: operated.condition("Ready")[0] == "True", 90)
    enqueue(operated, jobs, 0.1)
    eventually(lambda: operated.replicas() > 0, written)
    eventually(lambda: unfinished(operated) == 0, 180)
    assert sql(operated, LATE, float(goal)) == 0
    eventually(lambda: operated.replicas() == 0, 120)
    assert sql(operated, INTERRUPTED) == 0


@pytest.mark.parametrize(("waves", "seconds", "removed"), [(1, 12.0, 5), pytest.param(8, 60.0, 50, marks=pytest.mark.long)])
def test_scale_in_under_load_interrupts_nothing(operated: World, waves: int, seconds: float, removed: int) -> None:
    """Each wave fills every pod with short jobs, and a few of them with long ones, which outlast the scale-in of the others.

    The first wave makes ten pods, and each further one at least six.
    """
    manifest = operated.job_queue(maxReplicas=10)
    manifest["spec"]["queues"] = [{"name": "default", "maxWorkers": 5, "targetWaitSeconds": 5, "expectedJobSeconds": 4}]
    operated.apply(manifest)
    seen: set[str] = set()

    def grown() -> bool:
        seen.update(pods(operated))
        return operated.replicas() == 10

    def shrunk() -> bool:
        seen.update(pods(operated))
        return operated.replicas() <= 4 or unfinished(operated) == 0

    for _ in range(waves):
        enqueue(operated, 3, seconds)
        enqueue(operated, 120, 2.0)
        eventually(grown, 90)
        eventually(shrunk, 180)
    eventually(lambda: unfinished(operated) == 0, 180)
    eventually(lambda: operated.replicas() == 0 and not pods(operated), 180)
    assert len(seen) >= removed
    assert sql(operated, INTERRUPTED) == 0


@pytest.mark.parametrize("seconds", [15.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_a_rollout_under_full_load_never_stops_claims(operated: World, seconds: float) -> None:
    manifest = operated.job_queue(minReplicas=3, maxReplicas=3)
    manifest["spec"]["rollout"] = {"gateSeconds": 3}
    operated.apply(manifest)
    eventually(lambda: operated.get("jobqueue", "library").get("status", {}).get("readyReplicas") == 3, 90)
    (first,) = versions(operated)
    enqueue(operated, 9, seconds)
    enqueue(operated, 20, 0.5)
    eventually(lambda: sql(operated, "SELECT count(*) FROM river_job WHERE state = 'running'") >= 9)
    started = sql(operated, "SELECT now()")
    operated.apply(set_environment(manifest, RELEASE="2"))
    deadline = time.monotonic() + seconds + 120

    def replaced() -> bool:
        if sql(operated, "SELECT count(*) FROM river_job WHERE state = 'available'") < 20:
            enqueue(operated, 20, 0.5)
        return versions(operated)[first] == 0

    eventually(replaced, deadline - time.monotonic())
    ended = sql(operated, "SELECT now()")
    eventually(lambda: unfinished(operated) == 0, 120)
    assert sql(operated, INTERRUPTED) == 0
    # A claim comes as soon as a slot is free, and the six slots that short jobs use are free every half second.
    assert sql(operated, LONGEST_PAUSE, started, ended) < 3.0
