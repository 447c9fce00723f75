"""``migrate: Apply``: each pod migrates before it works, so one is made where the schema keeps the queues from being read."""

from __future__ import annotations

from dataclasses import replace

from rivermill_operator.model.observed import Observed, Unknown
from rivermill_operator.model.spec import JobQueue, Migrate, Mode
from rivermill_operator.model.status import Decision
from rivermill_operator.plan.explain import count
from rivermill_operator.plan.plan import Memory
from rivermill_operator.plan.reasons import SCHEMA_REASONS


def migration(observed: Observed, job_queue: JobQueue, version: str, replicas: int, memory: Memory) -> tuple[str, int] | None:
    """The version of the current template, and the replicas that it shall have so that one of its pods migrates.

    One is added where there is none, and where the schema was whole before: one that was made since has done what it could.
    Like the pod of a trial it may stand beside a fleet that is as large as it may be.

    Args:
        observed: the world as it is.
        job_queue: what is wanted.
        version: template hash.
        replicas: of its Deployment; 0 while that is not there.
        memory: of the last plan; ``migrating`` is what this returned then.
    """
    store = observed.store
    if not isinstance(store, Unknown) or job_queue.spec.database.migrate is not Migrate.APPLY:
        return None
    known = memory.migrating
    if store.reason not in SCHEMA_REASONS or (known is not None and known[0] == version):
        return known
    was_whole = known is None and bool(memory.scaling.queues)
    return version, replicas + (was_whole or replicas == 0)


def under_way(observed: Observed, job_queue: JobQueue, wanted: tuple[str, int] | None) -> bool:
    """Whether a pod migrates now, or will in a moment: one of those in ``wanted`` has not become Ready yet."""
    store = observed.store
    if wanted is None or not isinstance(store, Unknown) or store.reason not in SCHEMA_REASONS:
        return False
    if job_queue.spec.mode is not Mode.SCALE or observed.conflict is not None:
        return False
    pods = [pod for pod in observed.pods if pod.template_hash == wanted[0] and not pod.deleting]
    return len(pods) < wanted[1] or not all(pod.ready for pod in pods)


def told(decision: Decision, replicas: int, wanted: tuple[str, int] | None, *, goes_on: bool) -> Decision:
    """The decision of a look after which a pod migrates.

    Args:
        decision: as it was taken.
        replicas: those of the current template's version.
        wanted: as ``migration`` returned it.
        goes_on: as ``under_way`` returned it.
    """
    others = decision.desired_replicas or 0
    if wanted is None or replicas >= wanted[1]:
        sentence = f"{count(others, 'pod')} held: the schema is migrated before anything can be read."
        return replace(decision, sentence=sentence) if goes_on else decision
    text = f"{count(others, 'pod')} held, and one more" if others else "1 pod"
    sentence = f"{text}: it migrates the schema before anything can be read."
    return replace(decision, desired_replicas=max(1, others), sentence=sentence)
