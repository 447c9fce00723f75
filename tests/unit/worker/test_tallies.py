"""What is counted once a job comes out as Prometheus' own metrics would have it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from rivermill.tallies import Spreads, Tallies

BOUNDS = (0.5, 1.0, 10.0)
#: On bounds, beside them, beyond the last one and, of clocks that differ, below zero.
VALUES = [3.0, 0.5, 0.49, 1.0, 0.5, 10.0, 10.1, -0.2, 7.0, 250.0]


def lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if not line.startswith("#") and "_created" not in line]


def test_values_counted_together_and_one_by_one_are_those_of_a_histogram() -> None:
    registries = [CollectorRegistry() for _ in range(3)]
    histogram = Histogram("seconds", "Help.", ["queue"], buckets=BOUNDS, registry=registries[0])
    single, together = (Spreads("seconds", "Help.", ["queue"], BOUNDS, registry) for registry in registries[1:])
    for value in VALUES:
        histogram.labels("a").observe(value)
        single.labels("a").observe(value)
    together.labels("a").observe_all(VALUES[:4])
    together.labels("a").observe_all([])
    together.labels("a").observe_all(VALUES[4:])
    expected, *others = (sorted(lines(registry)) for registry in registries)
    assert len(expected) == len(BOUNDS) + 3
    assert others == [expected, expected]


def test_a_counter_is_kept_for_each_of_its_labels() -> None:
    registry = CollectorRegistry()
    jobs = Tallies("jobs", "Help.", ["queue", "outcome"], registry)
    jobs.labels("a", "completed").inc()
    jobs.labels("a", "completed").inc(2)
    jobs.labels("a", "failed").inc()
    jobs.labels("b", "completed").inc(5)
    assert sorted(lines(registry)) == [
        'jobs_total{outcome="completed",queue="a"} 3.0',
        'jobs_total{outcome="completed",queue="b"} 5.0',
        'jobs_total{outcome="failed",queue="a"} 1.0',
    ]
    assert (jobs.total("queue", "a"), jobs.total("outcome", "completed"), jobs.total("queue", "c")) == (4, 8, 0)
