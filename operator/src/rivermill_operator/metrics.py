"""The operator's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_OF = ["namespace", "jobqueue"]
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Every metric of one operator."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.decisions = Counter("rivermill_operator_decisions", "Decisions made.", _OF, registry=registry)
        self.step_seconds = Histogram(
            "rivermill_operator_step_seconds",
            "Time from the beginning of a look to everything written.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.replicas = Gauge("rivermill_replicas", "Replicas, current and desired.", [*_OF, "what"], registry=registry)
        self.waiting = Gauge(
            "rivermill_queue_waiting_jobs",
            "Due jobs not claimed.",
            [*_OF, "queue"],
            registry=registry,
        )
        self.running = Gauge("rivermill_queue_running_jobs", "Jobs that run.", [*_OF, "queue"], registry=registry)
        self.oldest = Gauge(
            "rivermill_queue_oldest_wait_seconds", "Wait of the oldest due job.", [*_OF, "queue"], registry=registry
        )
        self.xmin_age = Gauge(
            "rivermill_database_xmin_age_transactions",
            "Transactions that the oldest snapshot is behind; an old one makes every read slow.",
            _OF,
            registry=registry,
        )
        self.errors = Counter("rivermill_operator_errors", "Failures, by reason.", ["reason"], registry=registry)
        self.leader = Gauge("rivermill_operator_lease_holder", "1 while this replica holds the lease.", registry=registry)
