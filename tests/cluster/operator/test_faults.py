"""What is taken away comes back, and no job notices: the database, the operator, the API server.

Each has a short form here and its full form in the tier of long tests.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time

import pytest

from devcluster import Cluster, DevclusterError
from tests.cluster.world import INTERRUPTED, World, enqueue, eventually, ready, sql, unfinished

#: From the end of an outage to the first claim; jobs inserted in that moment are the only ones that can be claimed.
RESUMED = "SELECT extract(epoch FROM min(attempted_at) - $1)::float8 FROM river_job WHERE scheduled_at >= $1"


@pytest.mark.parametrize("seconds", [40.0, pytest.param(120.0, marks=pytest.mark.long)])
def test_replicas_are_held_while_the_database_is_away(world: World, seconds: float) -> None:
    """Longer than the silence after which a client counts as dead: its jobs must not be given away when it is back."""
    with world.operator():
        ready(world)
        enqueue(world, 10, seconds + 25)
        enqueue(world, 10, 0.5)
        eventually(lambda: sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") >= 10)
        # One that starts while there is no database ends, and is begun anew later and later.
        eventually(lambda: world.get("jobqueue", "library").get("status", {}).get("readyReplicas") == world.replicas())
        before = world.replicas()
        world.postgres.stop()
        try:
            eventually(lambda: world.condition("QueueObserved") == ("False", "DatabaseUnreachable"))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                assert world.replicas() == before
                time.sleep(2.0)
        finally:
            world.postgres.start()
        returned = sql(world, "SELECT now()")
        enqueue(world, 5, 0)
        eventually(lambda: world.condition("QueueObserved")[0] == "True", 90)
        eventually(lambda: unfinished(world) == 0, 120)
        assert sql(world, RESUMED, returned) < 5.0
        assert sql(world, INTERRUPTED) == 0


def test_a_job_whose_pod_is_deleted_is_seen_to_be_interrupted(world: World) -> None:
    """Else no test that counts such jobs could fail: the attempt is the first one once more."""
    with world.operator():
        ready(world)
        enqueue(world, 1, 10)
        eventually(lambda: sql(world, "SELECT count(*) FROM river_job WHERE state = 'running'") == 1)
        assert sql(world, "SELECT cardinality(attempted_by) FROM river_job") == 1
        world.kubectl("delete", "pods", "--all", "--wait=false")
        eventually(lambda: sql(world, "SELECT cardinality(attempted_by) FROM river_job") == 2)
        eventually(lambda: unfinished(world) == 0)
        assert sql(world, "SELECT attempt FROM river_job") == 1
        assert sql(world, INTERRUPTED) == 1


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.long)])
def test_the_operator_may_be_killed_at_any_time(world: World, times: int) -> None:
    rng = random.Random(times)
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(world.operator("0"))
        ready(world)
        for number in range(1, times + 1):
            enqueue(world, rng.randint(1, 15), rng.uniform(0.1, 8.0))
            time.sleep(rng.uniform(0.5, 6.0))
            operator.send_signal(signal.SIGKILL)
            operator.wait()
            operator = stack.enter_context(world.operator(str(number)))
        eventually(lambda: unfinished(world) == 0, 180)
        eventually(lambda: world.replicas() == 0, 180)
        assert sql(world, INTERRUPTED) == 0


@pytest.mark.parametrize("seconds", [10.0, pytest.param(60.0, marks=pytest.mark.long)])
def test_the_api_server_may_be_away(world: World, seconds: float) -> None:
    cluster = world.cluster
    if not isinstance(cluster, Cluster):
        pytest.skip("the API server of a cluster that is not ours is not stopped")
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(world.operator("one"))
        ready(world)
        enqueue(world, 12, 5)
        eventually(lambda: world.replicas() > 0)
        cluster.stop_api_server()
        try:
            time.sleep(seconds)
        finally:
            cluster.start_api_server()
        eventually(lambda: _answers(world), 90)
        # An operator that could not renew its lease has ended itself; in a cluster its pod is started again.
        if operator.poll() is not None:
            assert operator.returncode == 1
            stack.enter_context(world.operator("two"))
        enqueue(world, 3, 0)
        eventually(lambda: unfinished(world) == 0, 180)
        eventually(lambda: world.replicas() == 0, 180)
        # Kubernetes starts no pod until its own controllers and the node have found the API server again.
        enqueue(world, 1, 0)
        eventually(lambda: unfinished(world) == 0, 180)
        eventually(lambda: world.replicas() == 0, 180)
        assert sql(world, INTERRUPTED) == 0


def _answers(world: World) -> bool:
    try:
        return world.kubectl("get", "jobqueues", check=False).returncode == 0
    except (DevclusterError, subprocess.TimeoutExpired):
        return False
