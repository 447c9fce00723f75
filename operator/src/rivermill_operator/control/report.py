"""The status of a ``JobQueue`` from one observation and its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rivermill_operator.model import names
from rivermill_operator.model.observed import Observed, StoreView
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.status import Decision, QueueInputs, Turn, merge_conditions, turn
from rivermill_operator.model.times import stamp
from rivermill_operator.plan.memory import Manual
from rivermill_operator.plan.plan import Plan
from rivermill_operator.plan.reasons import TARGET_CONFLICT
from rivermill_operator.plan.versions import versions


def build_status(
    job_queue: JobQueue, observed: Observed, plan: Plan, old_conditions: Sequence[Mapping[str, Any]], now: str
) -> dict[str, Any]:
    """The status to write; numbers that could not be read are left as they were."""
    shown = show(job_queue, observed, plan)
    status: dict[str, Any] = {
        "observedGeneration": job_queue.generation,
        "queues": ",".join(queue.name for queue in job_queue.spec.queues),
        "replicas": shown.replicas,
        "readyReplicas": shown.ready,
        "selector": names.fleet_selector(job_queue.name),
        "decision": decision_status(plan.decision, now),
        "manual": _manual(observed, plan.memory.scaling.manual),
        "conditions": merge_conditions(old_conditions, plan.conditions, job_queue.generation, now),
    }
    if plan.decision.queues:
        status["estimates"] = _estimates(plan.decision)
    if plan.decision.desired_replicas is not None:
        status["desiredReplicas"] = plan.decision.desired_replicas
    if isinstance(observed.store, StoreView):
        status |= _numbers(observed, observed.store)
    return status


@dataclass(frozen=True, slots=True)
class Shown:
    """What people wait for in a status, and what is written for it at once, within the pace.

    Attributes:
        replicas: of all versions.
        ready: pods that are Ready and stay.
        left: pods that are there, where a deletion waits for them.
        drains: whether pods drain.
        busy: whether jobs wait or run.
    """

    replicas: int
    ready: int
    left: int
    drains: bool
    busy: bool

    def moved(self, before: Shown | None) -> bool:
        """Whether there is something new in it. That work began is seen by the pods; that it ended, by nothing else."""
        if before is None:
            return True
        ended = before.busy and not self.busy
        return ended or (self.replicas, self.ready, self.left, self.drains) != (
            before.replicas,
            before.ready,
            before.left,
            before.drains,
        )


def show(job_queue: JobQueue, observed: Observed, plan: Plan, before: Shown | None = None) -> Shown:
    """What is to be shown now; what could not be read is as it was ``before``."""
    store = observed.store
    if isinstance(store, StoreView):
        drains, busy = plan.decision.draining > 0, any(queue.waiting or queue.running for queue in store.queues)
    else:
        drains, busy = (before.drains, before.busy) if before else (False, False)
    return Shown(
        replicas=sum(deployment.replicas for deployment in observed.deployments),
        ready=observed.ready,
        left=len(observed.pods) if job_queue.deleting else 0,
        drains=drains,
        busy=busy,
    )


def news(status: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a status says more than another one does: the time and what moves on every server's own do not count.

    Args:
        status: to write, with all that its writer knows.
        old: as the object has it; other fields are nobody's business here.
    """
    before = _lasting(old)
    return any(not _same(value, before.get(key)) for key, value in _lasting(status).items())


def _lasting(status: Mapping[str, Any]) -> dict[str, Any]:
    return {**status, "database": None, "decision": {**(status.get("decision") or {}), "time": None}}


def _same(new: Any, old: Any) -> bool:
    """Whether two values are one to the API server, which drops what is null."""
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return all(_same(new.get(name), old.get(name)) for name in new.keys() | old.keys())
    return bool(new == old)


def decision_status(decision: Decision, time: str) -> dict[str, Any]:
    """``status.decision``; ``time`` is RFC 3339."""
    return {
        "time": time,
        "terms": dict(decision.terms),
        "bounds": [bound.text for bound in decision.bounds],
        "won": decision.won,
        "pending": decision.pending,
        "sentence": decision.sentence,
        "inputs": {
            "ready": decision.ready,
            "starting": decision.starting,
            "draining": decision.draining,
            **({"imagined": decision.imagined} if decision.imagined else {}),
            "queues": [_inputs(queue) for queue in decision.queues],
        },
    }


def _inputs(queue: QueueInputs) -> dict[str, Any]:
    """What a decision saw of one queue; what it had learnt of it stands in the estimates."""
    found = {
        "name": queue.name,
        "waiting": queue.waiting,
        "bounded": queue.bounded,
        "running": queue.running,
        "oldestSeconds": round(queue.oldest_seconds, 1),
        "dueSoon": queue.due_soon,
        "paused": queue.paused,
    }
    return found if queue.concurrency_limit is None else {**found, "concurrencyLimit": queue.concurrency_limit}


def _manual(observed: Observed, manual: Manual | None) -> dict[str, Any] | None:
    """Since when replicas are set by hand, so that a restart does not begin their time anew."""
    if manual is None:
        return None
    since = observed.utc - timedelta(seconds=observed.now - manual.since)
    return {"replicas": manual.replicas, "since": stamp(since), "over": manual.over}


def restore_manual(status: Mapping[str, Any], now: float, utc: datetime) -> Manual | None:
    """What a status says of replicas set by hand, on this process's clock.

    Args:
        status: as it was last written.
        now: monotonic seconds.
        utc: the time of day.
    """
    manual = status.get("manual")
    if not manual:
        return None
    age = (utc - datetime.fromisoformat(manual["since"])).total_seconds()
    return Manual(int(manual["replicas"]), now - max(0.0, age), bool(manual.get("over")))


def restore_conflict(status: Mapping[str, Any]) -> str | None:
    """What a status says of another writer, None where it says that there is none."""
    conditions = status.get("conditions") or []
    found: str | None = next((c["message"] for c in conditions if (c["type"], c["status"]) == (TARGET_CONFLICT, "True")), None)
    return found


def restore_conditions(status: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The conditions in a status: an operator tells by Events only what has turned since."""
    return tuple(turn(c["type"], c["status"], c["reason"], c["message"]) for c in status.get("conditions") or [])


def _estimates(decision: Decision) -> dict[str, Any]:
    return {
        "podStartSeconds": round(decision.pod_start_seconds or 0.0, 1),
        "queues": [
            {
                "name": queue.name,
                "arrivalsPerSecond": round(queue.arrivals_slow, 3),
                "recentArrivalsPerSecond": round(queue.arrivals_fast, 3),
                "jobSeconds": round(queue.job_seconds, 3),
                "measured": queue.measured,
            }
            for queue in decision.queues
        ],
    }


def _numbers(observed: Observed, store: StoreView) -> dict[str, Any]:
    uids = {pod.uid for pod in observed.pods}
    oldest = [q.oldest_seconds for q in store.queues if q.oldest_seconds is not None]
    server = store.server
    return {
        "database": {
            "xminAge": server.xmin_age,
            "connections": server.connections_used,
            "connectionsLimit": server.connections_limit,
        },
        # Pods that are being deleted still work; clients whose pod is gone do not, and others' clients are not of this fleet.
        "busySlots": sum(client.running for client in store.clients if client.pod_uid in uids),
        "drainingReplicas": sum(len(version.draining) for version in versions(observed)),
        "backlog": {
            "waiting": sum(queue.waiting for queue in store.queues),
            "bounded": any(queue.bounded for queue in store.queues),
            "oldestSeconds": round(max(oldest), 1) if oldest else 0.0,
            "dueSoon": sum(queue.due_soon for queue in store.queues),
        },
    }
