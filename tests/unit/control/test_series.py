"""Time series come with a JobQueue and go with it."""

from __future__ import annotations

from rivermill_operator.control.series import Series
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import Observed, StoreView, Unknown
from rivermill_operator.model.status import Decision
from tests.unit.plan.build import deployment, depth


def shown(metrics: Metrics) -> set[tuple[str, str]]:
    """Name, and the label that is no owner, of each series that says something of one JobQueue."""
    return {
        (sample.name, sample.labels.get("queue") or sample.labels.get("what") or "")
        for family in metrics.registry.collect()
        for sample in family.samples
        if "jobqueue" in sample.labels and not sample.name.endswith("_created")
    }


def test_series_go_with_the_job_queue_and_with_its_queues() -> None:
    metrics = Metrics()
    series = Series(("n", "q"), metrics)
    series.show(Observed(0.0, StoreView((depth("a"), depth("b"))), (deployment(2),)), Decision(3))
    assert {("rivermill_queue_waiting_jobs", "a"), ("rivermill_queue_waiting_jobs", "b")} < shown(metrics)
    series.show(Observed(0.0, StoreView((depth("a"),)), (deployment(2),)), Decision(3))
    assert "b" not in {label for _, label in shown(metrics)}
    assert ("rivermill_replicas", "desired") in shown(metrics)
    series.forget()
    assert shown(metrics) == set()


def test_other_job_queues_keep_theirs() -> None:
    metrics = Metrics()
    for name in ("one", "two"):
        Series(("n", name), metrics).show(Observed(0.0, StoreView((depth("a"),))), Decision(1))
    before = shown(metrics)
    Series(("n", "one"), metrics).forget()
    assert shown(metrics) == before


def test_what_was_not_decided_is_no_zero() -> None:
    metrics = Metrics()
    series = Series(("n", "q"), metrics)
    series.show(Observed(0.0, Unknown("SecretNotFound", "none")), Decision(None))
    assert shown(metrics) == {("rivermill_operator_decisions_total", ""), ("rivermill_replicas", "current")}
    series.show(Observed(0.0, StoreView((depth("a"),))), Decision(0))
    assert (
        metrics.registry.get_sample_value("rivermill_replicas", {"namespace": "n", "jobqueue": "q", "what": "desired"}) == 0.0
    )
