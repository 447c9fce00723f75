"""Time series come with a JobQueue and go with it."""

from __future__ import annotations

from typing import Any

import pytest

from rivermill_operator.control.series import Series
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import INVALID_SPEC, PAUSED, Observed, StoreView, Unknown
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build
from tests.unit.plan.build import body, deployment, depth, pod


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


OLDEST, WAITING = ("rivermill_queue_oldest_wait_seconds", "a"), ("rivermill_queue_waiting_jobs", "a")


def test_what_waits_on_purpose_is_no_wait_to_be_told() -> None:
    """Else the alert on long waits fired for as long as a queue was paused."""
    metrics = Metrics()
    series = Series(("n", "q"), metrics)
    for paused in (False, True, True, False):
        seen = depth("a", waiting=3, oldest_seconds=900.0, paused=paused)
        series.show(Observed(0.0, StoreView((seen, depth("b")))), Decision(1))
        assert (OLDEST in shown(metrics), WAITING in shown(metrics)) == (not paused, True)
        assert ("rivermill_queue_oldest_wait_seconds", "b") in shown(metrics)


@pytest.mark.parametrize(
    ("store", "left"),
    [
        (PAUSED, {"replicas", "decisions"}),
        (Unknown(INVALID_SPEC, "wrong."), {"replicas", "decisions"}),
        # It is tried again, and each failure counted.
        (Unknown("DatabaseUnreachable", "gone."), {"replicas", "decisions", "waiting", "running", "oldest", "xmin"}),
    ],
)
def test_what_nobody_reads_keeps_no_number(store: Unknown, left: set[str]) -> None:
    metrics = Metrics()
    series = Series(("n", "q"), metrics)
    series.show(Observed(0.0, StoreView((depth("a"),)), (deployment(2),)), Decision(3))
    before = shown(metrics)
    series.show(Observed(0.0, store, (deployment(2),)), Decision(3))
    series.show(Observed(0.0, store, (deployment(2),)), Decision(3))
    assert shown(metrics) == {one for one in before if any(part in one[0] for part in left)}
    series.show(Observed(0.0, StoreView((depth("a"),)), (deployment(2),)), Decision(3))
    assert shown(metrics) == before


def asking(mode: str = "Scale", migrate: str = "Apply") -> JobQueue:
    value = body()
    value["spec"]["mode"] = mode
    value["spec"]["database"]["migrate"] = migrate
    return parse_job_queue(value)


LIVE = build(asking()).version
OUTDATED = Unknown("SchemaOutdated", "old.")


@pytest.mark.parametrize(
    ("changes", "world", "counted"),
    [
        # A pod migrates: it is made, it starts, it never becomes Ready, it was Ready and the image is too old.
        ({}, {}, 0.0),
        ({}, {"deployments": (deployment(1, LIVE),), "pods": (pod(1, LIVE, ready=False),)}, 0.0),
        ({}, {"deployments": (deployment(1, LIVE),), "pods": (pod(1, LIVE, ready=False, age_seconds=121.0),)}, 2.0),
        ({}, {"deployments": (deployment(1, LIVE),), "pods": (pod(1, LIVE),)}, 2.0),
        # Nothing migrates.
        ({"mode": "Observe"}, {}, 2.0),
        ({}, {"conflict": "an HPA."}, 2.0),
        ({"migrate": "Verify"}, {}, 2.0),
        # Nothing was tried.
        ({}, {"store": Unknown("ModePaused", "paused.")}, 0.0),
        ({}, {"store": StoreView((depth(),))}, 0.0),
    ],
)
def test_a_schema_that_nothing_migrates_is_a_failure(changes: dict[str, str], world: dict[str, Any], counted: float) -> None:
    metrics, memory, job_queue = Metrics(), Memory(), asking(**changes)
    series, observed = Series(("n", "q"), metrics), Observed(0.0, **{"store": OUTDATED, **world})
    for _ in range(2):
        done = plan(observed, job_queue, memory)
        memory = done.memory
        series.count_unread(observed, done.conditions)
    reason = observed.store.reason if isinstance(observed.store, Unknown) else "Observed"
    found = metrics.registry.get_sample_value("rivermill_operator_errors_total", {"reason": reason})
    assert (found or 0.0) == counted
