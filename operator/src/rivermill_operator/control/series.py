"""The time series of one ``JobQueue``: they go with it, and what is not known is not shown as 0."""

from __future__ import annotations

from collections.abc import Sequence

from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import Observed, StoreView, Unknown
from rivermill_operator.model.status import Condition, Decision
from rivermill_operator.plan.reasons import MIGRATING


class Series:
    """Writes them.

    Args:
        key: namespace and name.
        metrics: of the whole operator.
    """

    def __init__(self, key: tuple[str, str], metrics: Metrics) -> None:
        self._key = key
        self._own = {"namespace": key[0], "jobqueue": key[1]}
        self._metrics = metrics
        self._queues: set[str] = set()

    def show(self, observed: Observed, decision: Decision) -> None:
        """One decision and what it was made of.

        Numbers that could not be read stay as they were, and an error is counted at each try. What nobody tries to read goes.
        """
        metrics, desired = self._metrics, decision.desired_replicas
        metrics.decisions.labels(*self._key).inc()
        metrics.replicas.labels(*self._key, "current").set(sum(d.replicas for d in observed.deployments))
        if desired is None:
            metrics.replicas.remove_by_labels({**self._own, "what": "desired"})
        else:
            metrics.replicas.labels(*self._key, "desired").set(desired)
        if isinstance(observed.store, StoreView):
            self._show_store(observed.store)
        elif observed.store.untried:
            self._forget_store()

    def count_unread(self, observed: Observed, conditions: Sequence[Condition]) -> None:
        """Count a look at which the database could not be read, unless the conditions tell that a pod mends that now."""
        migrating = any(condition.reason == MIGRATING for condition in conditions)
        if isinstance(observed.store, Unknown) and not observed.store.untried and not migrating:
            self._metrics.errors.labels(observed.store.reason).inc()

    def _show_store(self, store: StoreView) -> None:
        metrics = self._metrics
        metrics.xmin_age.labels(*self._key).set(store.server.xmin_age)
        for queue in store.queues:
            metrics.waiting.labels(*self._key, queue.name).set(queue.waiting)
            metrics.running.labels(*self._key, queue.name).set(queue.running)
            if queue.paused:
                # Its jobs wait on purpose.
                metrics.oldest.remove_by_labels({**self._own, "queue": queue.name})
            else:
                metrics.oldest.labels(*self._key, queue.name).set(queue.oldest_seconds or 0)
        queues = {queue.name for queue in store.queues}
        for gone in self._queues - queues:
            for metric in (metrics.waiting, metrics.running, metrics.oldest):
                metric.remove_by_labels({**self._own, "queue": gone})
        self._queues = queues

    def _forget_store(self) -> None:
        metrics = self._metrics
        for metric in (metrics.xmin_age, metrics.waiting, metrics.running, metrics.oldest):
            metric.remove_by_labels(self._own)
        self._queues = set()

    def forget(self) -> None:
        """The JobQueue is gone."""
        self._forget_store()
        for metric in (self._metrics.decisions, self._metrics.replicas):
            metric.remove_by_labels(self._own)
