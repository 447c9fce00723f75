"""Carries a plan out: the only place that writes to Kubernetes and to the control rows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rivermill_operator.control.retries import Problem, Retries
from rivermill_operator.control.turns import Turns
from rivermill_operator.kube.port import Kube, KubeError
from rivermill_operator.model import names
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.status import TEMPLATE_WRITES
from rivermill_operator.model.template_paths import name_as_written
from rivermill_operator.plan.plan import ApplyVersion, Plan
from rivermill_operator.store.port import Store, StoreError

Write = Callable[[], Awaitable[None]]
_Turn = AbstractAsyncContextManager[Any]

logger = logging.getLogger("rivermill.control.apply")


async def apply(
    plan: Plan, job_queue: JobQueue, kube: Kube, store: Store | None, turns: Turns, retries: Retries
) -> list[Problem]:
    """Write everything, in the plan's order; what fails stops nothing that does not depend on it.

    Args:
        plan: what to write.
        job_queue: whose fleet.
        kube: the API server.
        store: the database, if it is open.
        turns: not waited for before a write to the database, which may be slow and is nobody else's trouble.
        retries: of this JobQueue. What went wrong with a write whose pause is not over is as it was.

    Returns:
        What went wrong, without what had merely changed since it was seen.
    """
    retries.begin(job_queue.generation)
    writer, namespace = _Writer(retries), job_queue.namespace
    for item in plan.apply:
        await _apply_version(item, job_queue, kube, turns, writer)
    events = list(plan.events)
    for mark in plan.verdicts:
        verdict = partial(kube.set_verdict, namespace, mark.deployment, mark.verdict, mark.trial, mark.resource_version)
        written = await writer.attempt(f"annotate Deployment {mark.deployment} with its verdict", verdict, turns.fleet)
        events += [mark.event] if written and mark.event is not None else []
    for turn, writes in (
        (turns.growth, _scale_writes(plan, namespace, kube, grow=True)),
        (nullcontext(), _client_writes(plan, store)),
        (turns.fleet, _fleet_writes(plan, namespace, kube)),
        (turns.report, _own_writes(plan, job_queue, kube)),
    ):
        for step in writes:
            await writer.attempt(step.what, step.write, turn, key=step.key)
    for event in events:
        told = partial(kube.emit_event, job_queue, event.type, event.reason, event.message)
        problem, _ = await _attempt(f"record Event {event.reason}", told, turns.report)
        # The fleet is as it should be without an Event, which nobody writes again.
        writer.problems += [replace(problem, refused=False)] if problem else []
    return writer.problems


@dataclass(frozen=True, slots=True)
class _Step:
    """One write: what it does, and what shares its pause when it fails, if that is more."""

    what: str
    write: Write
    key: str | None = None


class _Writer:
    """Tries what may be tried, and gathers what went wrong."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self.problems: list[Problem] = []

    def keeps(self, *writes: str) -> bool:
        """Whether one of these is not to be tried yet."""
        kept = self._retries.kept(*writes)
        self.problems += kept
        return bool(kept)

    async def attempt(
        self, what: str, write: Write, turn: _Turn, words: Callable[[str], str] = str, key: str | None = None
    ) -> bool:
        """Write, unless that is not to be tried yet; False if it was not done. ``key`` says what shares one pause."""
        key = key or what
        if self.keeps(key):
            return False
        problem, done = await _attempt(what, write, turn, words)
        self._retries.note(key, problem)
        self.problems += [problem] if problem else []
        return done


async def _apply_version(item: ApplyVersion, job_queue: JobQueue, kube: Kube, turns: Turns, writer: _Writer) -> None:
    """A Deployment that is new has no pods yet, and a budget only when it was taken: without it, nothing would remove that."""
    namespace, manifest = job_queue.namespace, item.deployment
    source = f"{item.name}, whose template is made from spec.worker"
    making, applying = (f"{write} {source}" for write in TEMPLATE_WRITES)
    covering = f"apply disruption budget {item.name}"
    # As a whole: what of it went well would be written again at each look.
    if writer.keeps(making, covering, applying):
        return
    words = partial(name_as_written, made=manifest["spec"]["template"], given=job_queue.spec.worker.template)
    if not await writer.attempt(making, partial(kube.make_deployment, namespace, manifest), turns.fleet, words):
        return
    covered = await writer.attempt(covering, partial(kube.apply_budget, namespace, item.budget), turns.fleet)
    manifest = manifest if covered else _unfinished(manifest)
    await writer.attempt(applying, partial(kube.apply_deployment, namespace, manifest), turns.fleet, words)


async def _attempt(what: str, write: Write, turn: _Turn, words: Callable[[str], str] = str) -> tuple[Problem | None, bool]:
    """What went wrong with a write, and whether it was done: what had changed meanwhile is neither."""
    try:
        async with turn:
            await write()
    except KubeError as error:
        # That an object has changed since it was seen is no trouble: the next look sees it as it is.
        logger.log(logging.DEBUG if error.stale else logging.INFO, "write refused", extra={"what": what, "error": str(error)})
        return (None if error.stale else Problem(f"{what}: {words(str(error))}", error.refused)), False
    except StoreError as error:
        return Problem(f"{what}: {error.message}", refused=False), False
    return None, True


def _fleet_writes(plan: Plan, namespace: str, kube: Kube) -> Iterator[_Step]:
    for change in plan.protections:
        write = partial(kube.set_protection, namespace, change.pod, change.protected, change.resource_version)
        yield _Step(f"annotate pod {change.pod} for node autoscalers", write)
    for cost in plan.deletion_costs:
        write = partial(kube.set_deletion_cost, namespace, cost.pod, cost.cost, cost.resource_version)
        yield _Step(f"annotate pod {cost.pod} with its deletion cost", write)
    yield from _scale_writes(plan, namespace, kube, grow=False)
    for gone in plan.deletions:
        yield _Step(f"delete {gone.name}", partial(kube.delete_version, namespace, gone.name, gone.resource_version))
    for name in plan.release_ownership:
        yield _Step(f"release {name}", partial(kube.release_ownership, namespace, name))
    if plan.live is not None:
        # After what is scaled: each write of a Deployment makes those that know it from before stale.
        yield _Step(
            f"mark {plan.live.deployment} as live", partial(kube.mark_live, namespace, plan.live.deployment, plan.live.since)
        )


def _scale_writes(plan: Plan, namespace: str, kube: Kube, *, grow: bool) -> Iterator[_Step]:
    for scale in plan.scales:
        if scale.grows is grow:
            write = partial(kube.set_replicas, namespace, scale.deployment, scale.replicas, scale.resource_version)
            # The number moves as long as jobs come.
            key = f"scale {scale.deployment} {'up' if grow else 'down'}"
            yield _Step(f"scale {scale.deployment} to {scale.replicas}", write, key)


def _unfinished(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Without the digest of what has been applied: the next look applies it again, and its budget with it."""
    meta = deployment["metadata"]
    left = {key: value for key, value in meta["annotations"].items() if key != names.MANIFEST_ANNOTATION}
    return {**deployment, "metadata": {**meta, "annotations": left}}


def _own_writes(plan: Plan, job_queue: JobQueue, kube: Kube) -> Iterator[_Step]:
    if plan.clear_manual:
        yield _Step("remove spec.scaling.manualReplicas", partial(kube.clear_manual, job_queue))


def _client_writes(plan: Plan, store: Store | None) -> Iterator[_Step]:
    if store is None:
        return
    if plan.bury:
        yield _Step("declare clients dead", partial(store.bury, plan.bury))
    for what, state, clients in (("uncordon", "accepting", plan.uncordon), ("cordon", "cordoned", plan.cordon)):
        if clients:
            yield _Step(f"{what} clients", partial(store.want, state, clients))
