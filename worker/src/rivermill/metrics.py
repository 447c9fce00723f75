"""The worker's Prometheus metrics, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rivermill.tallies import Spreads, Tallies

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
_SIZES = (1, 5, 10, 50, 100, 500, 1000, 5000)


class Metrics:
    """Every metric of one client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        add = self.registry
        self.jobs = Tallies("rivermill_jobs", "Attempts that ended, by outcome.", ["queue", "kind", "outcome"], add)
        self.job_seconds = Spreads("rivermill_job_seconds", "Time an attempt took.", ["queue"], _SECONDS, add)
        self.wait_seconds = Spreads("rivermill_wait_seconds", "Time from due to claimed.", ["queue"], _SECONDS, add)
        self.claim_size = Histogram("rivermill_claim_jobs", "Jobs a claim brought.", buckets=_SIZES, registry=add)
        self.claim_seconds = Histogram("rivermill_claim_seconds", "Time a claim took.", buckets=_SECONDS, registry=add)
        self.completion_batch = Histogram(
            "rivermill_completion_jobs", "Completions a batch wrote.", buckets=_SIZES, registry=add
        )
        self.completion_seconds = Histogram(
            "rivermill_completion_seconds", "Time a batch took to write.", buckets=_SECONDS, registry=add
        )
        self.returned = Counter("rivermill_returned_jobs", "Jobs claimed ahead for which no slot became free.", registry=add)
        self.completions_refused = Counter(
            "rivermill_completions_refused", "Completions whose contents the database refused.", registry=add
        )
        self.backlog = Gauge("rivermill_completion_backlog", "Completions not yet acknowledged.", registry=add)
        self.slots = Gauge("rivermill_slots", "Jobs this process may run at once.", registry=add)
        self.busy = Gauge("rivermill_busy_slots", "Jobs this process runs.", registry=add)
        self.leader = Gauge("rivermill_leader", "1 while this client is the leader.", registry=add)
        self.reconnects = Counter("rivermill_reconnects", "Listener connections made anew.", registry=add)
        self.loop_lag = Gauge("rivermill_loop_lag_seconds", "Time the event loop last took, or takes, to answer.", registry=add)
        self.stuck = Gauge("rivermill_stuck_jobs", "Jobs that ignore their timeout or cancellation.", registry=add)
        self.rescued = Counter("rivermill_rescued_jobs", "Jobs rescued by this client as leader.", ["reason"], registry=add)
        self.service_errors = Counter(
            "rivermill_service_errors", "Failures of a background service.", ["service"], registry=add
        )

    def attempts(self) -> dict[str, tuple[int, int]]:
        """Attempts that ended so far, by queue: all of them, and those that ended with an error."""
        counts: dict[str, tuple[int, int]] = {}
        for metric in self.jobs.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    ended, failed = counts.get(sample.labels["queue"], (0, 0))
                    bad = sample.labels["outcome"] in ("failed", "discarded")
                    counts[sample.labels["queue"]] = (ended + int(sample.value), failed + int(sample.value) * bad)
        return counts
