"""Replicas set by hand keep their time over a restart of the operator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rivermill_operator.control.report import (
    build_status,
    decision_status,
    news,
    restore_conditions,
    restore_conflict,
    restore_manual,
)
from rivermill_operator.model.observed import Observed, ServerView, StoreView, Unknown
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.memory import Manual, ScalingMemory
from tests.unit.plan.build import client, deployment, depth, job_queue, pod

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EMPTY = StoreView((depth(),))


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({}, None),
        ({"manual": None}, None),
        ({"manual": {"replicas": 4, "since": "2026-01-01T11:59:00Z"}}, Manual(4, 940.0)),
        ({"manual": {"replicas": 4, "since": "2026-01-01T11:59:00Z", "over": True}}, Manual(4, 940.0, over=True)),
        # The clock was set back meanwhile: the time begins now.
        ({"manual": {"replicas": 4, "since": "2026-01-01T12:30:00Z"}}, Manual(4, 1000.0)),
    ],
)
def test_a_status_tells_since_when(status: dict[str, object], found: Manual | None) -> None:
    assert restore_manual(status, 1000.0, NOON) == found


def test_the_time_of_manual_replicas_does_not_begin_anew_with_a_restart() -> None:
    queue = job_queue(manualReplicas=4, manualSeconds=100)
    first = plan(Observed(50.0, EMPTY, (deployment(0),), utc=NOON), queue, Memory())
    assert first.decision.desired_replicas == 4
    later = Observed(90.0, EMPTY, (deployment(4),), utc=NOON + timedelta(seconds=40))
    status = build_status(queue, later, plan(later, queue, first.memory), (), "now")
    assert status["manual"] == {"replicas": 4, "since": "2026-01-01T12:00:00Z", "over": False}

    # Another process, with another monotonic clock.
    for seconds, desired in ((59.0, 4), (61.0, 0)):
        utc = NOON + timedelta(seconds=40 + seconds)
        restored = Memory(scaling=ScalingMemory(manual=restore_manual(status, 7.0, utc)))
        waiting = Observed(7.0, EMPTY, (deployment(0),), utc=utc)
        decided = plan(waiting, queue, restored)
        assert decided.decision.desired_replicas == desired
        again = build_status(queue, waiting, decided, (), "now")
        assert again["manual"] == {**status["manual"], "over": desired == 0}, "an expired number stays expired"


def test_without_a_number_the_status_forgets_it() -> None:
    observed = Observed(0.0, EMPTY, (deployment(0),), utc=NOON)
    assert build_status(job_queue(), observed, plan(observed, job_queue(), Memory()), (), "now")["manual"] is None


@pytest.mark.parametrize("conflict", [None, "JobQueue n/older works queue default."])
def test_a_status_tells_of_another_writer(conflict: str | None) -> None:
    observed = Observed(0.0, EMPTY, (deployment(0),), conflict=conflict, utc=NOON)
    status = build_status(job_queue(), observed, plan(observed, job_queue(), Memory()), (), "now")
    assert restore_conflict(status) == conflict
    assert restore_conflict({}) is None


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [(None, None, []), (None, "gone.", ["DatabaseUnreachable"]), ("gone.", "gone.", []), ("gone.", None, ["Observed"])],
)
def test_a_restart_tells_by_events_only_what_has_turned(before: str | None, now: str | None, told: list[str]) -> None:
    def seen(away: str | None) -> Observed:
        store = EMPTY if away is None else Unknown("DatabaseUnreachable", away)
        return Observed(0.0, store, (deployment(0),), utc=NOON)

    status = build_status(job_queue(), seen(before), plan(seen(before), job_queue(), Memory()), (), "now")
    after = plan(seen(now), job_queue(), Memory(conditions=restore_conditions(status)))
    assert [event.reason for event in after.events] == told
    assert restore_conditions({}) == ()


def test_only_the_fleets_own_pods_are_counted() -> None:
    """Jobs of foreign clients and clients of lost pods are not of this fleet; a pod that is being deleted still works."""
    store = StoreView(
        (depth(running=9),),
        (
            client(1, running=2),
            client(2, running=1, wanted_state="cordoned"),
            client(3, running=3),
            client(4, running=1, wanted_state="cordoned"),
        ),
    )
    observed = Observed(0.0, store, (deployment(2),), (pod(1), pod(2), pod(3, deleting=True)), utc=NOON)
    status = build_status(job_queue(), observed, plan(observed, job_queue(), Memory()), (), "now")
    assert (status["busySlots"], status["drainingReplicas"]) == (6, 1)


def test_time_and_the_servers_own_numbers_alone_are_no_news() -> None:
    observed = Observed(0.0, StoreView((depth(waiting=3),), server=ServerView(xmin_age=5)), (deployment(0),), utc=NOON)
    later = replace(observed, store=replace(observed.store, server=ServerView(xmin_age=6)))
    queue = job_queue()
    decided = plan(observed, queue, Memory())
    old = build_status(queue, observed, decided, (), "2026-01-01T12:00:00Z")
    as_stored = {**old, "decision": {k: v for k, v in old["decision"].items() if v is not None}, "scaledByOthers": 1}
    del as_stored["manual"]

    def status(observed: Observed) -> dict[str, object]:
        return build_status(queue, observed, decided, old["conditions"], "2026-01-01T12:00:15Z")

    assert not news(status(observed), as_stored)
    assert not news(status(later), as_stored)
    more = replace(observed, store=StoreView((depth(waiting=4),)))
    assert news(status(more), as_stored)
    assert news({**status(observed), "decision": {**old["decision"], "pending": "x"}}, as_stored)
    assert news(status(observed), {})
    assert news(status(observed), {**as_stored, "decision": {**as_stored["decision"], "pending": "of before"}})


def test_a_decision_shows_what_it_was_made_of() -> None:
    store = StoreView((depth(waiting=3, running=2, oldest_seconds=1.26, due_soon=4, concurrency_limit=7),))
    observed = Observed(0.0, store, (deployment(0),), utc=NOON)
    found = decision_status(plan(observed, job_queue(), Memory()).decision, "now")["inputs"]
    assert (found["ready"], found["starting"], found["draining"]) == (0, 0, 0)
    seen = {"waiting": 3, "bounded": False, "running": 2, "oldestSeconds": 1.3, "dueSoon": 4, "paused": False}
    assert found["queues"][0] == {"name": "default", "concurrencyLimit": 7, **seen}
    assert "concurrencyLimit" not in found["queues"][1]
    assert "imagined" not in found
    assert decision_status(Decision(4, imagined=3), "now")["inputs"]["imagined"] == 3
