"""Whether pods that are stopped from outside leave the fleet's jobs the time that these take.

The operator itself stops no pod that works; a node that is drained, an eviction or ``kubectl delete pod`` do.
"""

from __future__ import annotations

import math

from rivermill_operator.model.spec import WorkerSpec
from rivermill_operator.model.template import GRACE_PERIOD
from rivermill_operator.plan.estimate import LEAST_JOBS
from rivermill_operator.plan.manifests import shutdown_seconds
from rivermill_operator.plan.memory import QueueMemory, ScalingMemory
from rivermill_operator.plan.plan import Event, Warned

#: Standard deviations of the 95th percentile of a normal distribution.
_DEVIATIONS = 1.645


def short_grace(worker: WorkerSpec, memory: ScalingMemory, warned: Warned = ()) -> tuple[Event | None, Warned]:
    """The Event that names the queue with the longest jobs, if these take longer than a pod has, and what was told by now.

    Of each queue it is told once while pods have the same time: the estimate moves, and what it says stays as true as it was.

    Args:
        worker: says how long jobs have.
        memory: what was learnt of jobs.
        warned: what was told before.
    """
    given = shutdown_seconds(worker)
    warned = tuple(told for told in warned if told[1] == given)
    known = {name for name, _ in warned}
    found = {queue.name: high_seconds(queue) for queue in memory.queues if queue.jobs >= LEAST_JOBS and queue.name not in known}
    longest = max(found, key=lambda name: found[name], default=None)
    if longest is None or found[longest] <= given:
        return None, warned
    message = (
        f"About one in twenty jobs of queue {longest} takes {found[longest]:.3g} s or longer, and a pod that is stopped from "
        f"outside, as when its node is drained, gives its jobs {given:g} s: longer ones are given back and begin anew. "
        f"Raise {_setting(worker)} if they should finish."
    )
    return Event("Warning", "GracePeriodShort", message), (*warned, (longest, given))


def _setting(worker: WorkerSpec) -> str:
    """What says how long jobs have; raising ``shutdownTimeout`` beside a grace period in the template would change nothing."""
    inner = GRACE_PERIOD in worker.template.get("spec", {})
    return f"{GRACE_PERIOD} in spec.worker.template" if inner else "spec.worker.shutdownTimeout"


def high_seconds(queue: QueueMemory) -> float:
    """The 95th percentile of a queue's job time; 0 where unknown.

    That of the lognormal distribution with its mean and variance, but no more than any job took: of jobs that take either
    nothing or 25 s it says 35 s.
    """
    mean = queue.job_seconds or 0.0
    if mean <= 0:
        return 0.0
    spread = math.log(max(1.0, queue.job_seconds_squared / mean**2))
    return min(mean * math.exp(_DEVIATIONS * math.sqrt(spread) - spread / 2), queue.finished.longest_seconds)
