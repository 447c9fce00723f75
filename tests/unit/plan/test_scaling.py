"""The scaling decision: every term, bound and guard as a table, and what must hold for any input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivermill_operator.model.observed import (
    Finished,
    FleetView,
    Moment,
    ServerView,
    StartingPod,
    StoreView,
    Unknown,
)
from rivermill_operator.model.status import Decision
from rivermill_operator.plan.estimate import JobSeconds, Rate, update_queue
from rivermill_operator.plan.memory import QueueMemory, ScalingMemory
from rivermill_operator.plan.scaling import decide
from rivermill_operator.plan.terms import Capacity, Load, compute, slots_of_rate
from tests.unit.plan.build import depth, job_queue

EMPTY = Capacity(0, 0, 10, 5.0)
NO_FLEET, NOTHING_KNOWN = FleetView(), ScalingMemory()


def load(**changes: Any) -> Load:
    return Load(**{"name": "default", "goal": 30.0, "slots_per_pod": 10, **changes})


def once(store: StoreView | Unknown, fleet: FleetView = NO_FLEET, memory: ScalingMemory = NOTHING_KNOWN, now: float = 0.0,
         **scaling: Any) -> tuple[Decision, ScalingMemory]:  # fmt: skip
    return decide(job_queue(**scaling).spec, store, fleet, memory, Moment(now))


@pytest.mark.parametrize(
    ("queue", "capacity", "term", "pods"),
    [
        (load(), EMPTY, "steady", 0),
        (load(rate=Rate(fast=20.0, base=20.0)), EMPTY, "steady", 3),
        # Nothing came lately and a pod would be there in time, or it would not.
        (load(rate=Rate(base=0.1)), EMPTY, "steady", 0),
        (load(rate=Rate(base=0.1), goal=9.0), EMPTY, "steady", 1),
        (load(rate=Rate(fast=20.0, base=20.0), limit=10.0), EMPTY, "steady", 1),
        # Pods that are not Ready yet start fewer jobs in time, but no more of them help than hold the limit.
        (load(waiting=10**6, limit=25.0), EMPTY, "backlog", 3),
        # Twenty long jobs at a time: a pod comes within half the goal, or it does not.
        (
            load(rate=Rate(fast=0.05, base=0.05), goal=60.0, job=JobSeconds(400.0), slots_per_pod=1),
            Capacity(0, 0, 1, 30.0),
            "steady",
            23,
        ),
        (
            load(rate=Rate(fast=0.05, base=0.05), goal=60.0, job=JobSeconds(400.0), slots_per_pod=1),
            Capacity(0, 0, 1, 31.0),
            "steady",
            27,
        ),
        (load(waiting=1), EMPTY, "backlog", 1),
        # 31 starts of a second fit into 30 s on a slot, 26 on one of a pod that takes 5 s to start.
        (load(waiting=2600), EMPTY, "backlog", 10),
        (load(waiting=2600), Capacity(10, 0, 10, 5.0), "backlog", 0),
        (load(waiting=2600, oldest=20.0), EMPTY, "backlog", 20),
        # A pod that is asked for now is Ready before what is known to come.
        (load(due_soon=3100), EMPTY, "backlog", 10),
        # What a steady stream brings later has its own goal before it; what a burst brings must not pile up.
        (load(waiting=2600, rate=Rate(fast=9.0, base=9.0)), EMPTY, "backlog", 10),
        (load(waiting=10, rate=Rate(fast=90.0, base=0.0, excess=90.0, age=30.0)), EMPTY, "backlog", 5),
        # Ten slots that are free soon start what waits; ten whose jobs have run for minutes do not.
        (load(waiting=10, busy=10, job=JobSeconds(4.0), oldest=26.0), Capacity(1, 0, 10, 5.0), "backlog", 0),
        (load(waiting=9, busy=10, job=JobSeconds(4.0), busy_seconds=99.0, oldest=26.0), Capacity(1, 0, 10, 5.0), "backlog", 2),
        (load(waiting=300, goal=3.0), Capacity(40, 0, 10, 5.0), "hold", 10),
        (load(waiting=9, busy=12, job=JobSeconds(400.0)), Capacity(2, 0, 10, 5.0), "longJobs", 3),
        (load(waiting=9, busy=12, job=JobSeconds(4.0)), Capacity(2, 0, 10, 5.0), "longJobs", 0),
    ],
)
def test_each_term(queue: Load, capacity: Capacity, term: str, pods: int) -> None:
    assert compute([queue], capacity, 100).named()[term] == pods


@pytest.mark.parametrize(
    ("queue", "known", "out"),
    [
        (load(), 0, 0),
        (load(waiting=60), 3, 3),
        # A burst of 20/s that has lasted for 3 s is expected to bring 60 more.
        (load(waiting=60, rate=Rate(fast=20.0, excess=20.0, age=3.0)), 3, 5),
        (load(due_soon=60, rate=Rate(fast=20.0, excess=20.0, age=3.0)), 2, 3),
        # Of a stream nothing is a guess.
        (load(waiting=60, rate=Rate(fast=20.0, base=20.0)), 6, 6),
    ],
)
def test_what_is_known_leaves_out_what_a_burst_may_bring(queue: Load, known: int, out: int) -> None:
    found = compute([replace(queue, goal=10.0, job=JobSeconds(2.5))], Capacity(0, 0, 10, 30.0), 100)
    assert (found.known, found.out) == (known, out)


def test_a_burst_asks_for_pods_when_it_needs_them_and_then_for_what_it_may_bring() -> None:
    fleet, (_, memory) = FleetView(), once(StoreView((depth(),)))
    asked, held = [], []
    for now, jobs in ((1.0, 100), (1.5, 110), (2.0, 120), (3.0, 150), (4.0, 210), (5.0, 230)):
        store = StoreView((depth(waiting=jobs, arrived=jobs, oldest_seconds=now),))
        decision, memory = once(store, fleet, memory, now, maxReplicas=100)
        size = decision.desired_replicas or 0
        asked.append(size)
        held.append(decision.pending)
        fleet = FleetView(size, 0, tuple(StartingPod(f"s{n}", 0.5) for n in range(size)))
    assert asked == [6, 6, 6, 6, 16, 16]
    assert held[1] == "scale-out to 7 once more jobs wait than 6 pods can start in time"
    assert (held[0], held[4]) == (None, None)


def test_a_queue_that_is_seen_for_the_first_time_is_taken_to_have_been_idle() -> None:
    def rates(looks_before: int) -> list[float]:
        memory, found = QueueMemory("default"), []
        for tick in range(-looks_before, 20):
            memory, rate, _ = update_queue(memory, depth(arrived=max(0, 10 * tick)), 1.0, tick / 2)
            found += [rate.base, rate.excess, rate.age] if tick > 0 else []
        return found

    assert rates(0) == pytest.approx(rates(240), rel=0.15)
    assert rates(0)[:2] == [0.0, 1.0]


@pytest.mark.parametrize("seconds", [200.0, 1800.0])
def test_a_queue_that_has_been_watched_for_long_is_not_new_when_its_jobs_become_longer(seconds: float) -> None:
    """The windows grow with the job time, beyond what is left of the looks: a steady stream was taken for a burst."""
    memory, done, total, sizes = QueueMemory("default"), 0, 0.0, []
    for second in range(2400):
        took = 1.0 if second < 1200 else seconds
        done, total = done + 2, total + 2 * took
        finished = Finished(done, total, total * took)
        memory, rate, job = update_queue(memory, depth(arrived=2 * second, finished=finished), 1.0, float(second))
        if second >= 60:
            assert (memory.burst, rate.excess) == (None, 0.0), second
            assert rate.base == pytest.approx(2.0, rel=0.05), second
        sizes.append(len(memory.samples))
    assert job.mean > 0.9 * seconds
    assert memory.since == 0.0
    assert max(sizes) < 100


def test_a_store_that_was_opened_anew_begins_a_new_series() -> None:
    memory = QueueMemory("default")
    for second in range(100):
        memory, _, _ = update_queue(memory, depth(arrived=2 * second), 1.0, float(second))
    memory, _, _ = update_queue(memory, depth(arrived=0), 1.0, 100.0)
    assert (memory.since, memory.samples) == (100.0, ((100.0, 0),))


def test_queues_share_a_fleet_and_pool_their_safety() -> None:
    one = load(rate=Rate(base=10.0), goal=1.0)
    alone = compute([one], EMPTY, 100).out
    both = compute([one, replace(one, name="other")], EMPTY, 100).out
    assert alone <= both <= 2 * alone
    narrow = replace(one, slots_per_pod=2)
    assert compute([narrow], EMPTY, 100).out >= 5


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 500), st.floats(1, 3))
def test_more_of_anything_never_needs_fewer_pods(
    waiting: int, more: int, base: float, extra: float, seconds: float, factor: float
) -> None:
    low = load(waiting=waiting, rate=Rate(base=base), job=JobSeconds(seconds))
    wanted = compute([low], EMPTY, 100).out
    for high in (
        replace(low, waiting=waiting + more),
        replace(low, rate=Rate(base=base + extra)),
        replace(low, job=JobSeconds(seconds * factor)),
    ):
        assert compute([high], EMPTY, 100).out >= wanted >= 0


@pytest.mark.parametrize(
    ("starts", "seconds", "slots"),
    [(100.0, 1.0, 110), (4.0, 1.0, 6), (0.001, 1.0, 1), (1.0, 0.0, 1), (10.0, 0.1, 2), (1e6, 60.0, 60_007_746)],
)
def test_slots_that_a_rate_can_use(starts: float, seconds: float, slots: int) -> None:
    assert slots_of_rate(starts, seconds) == slots


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 10**6))
def test_desired_replicas_stay_within_bounds_and_are_reproducible(waiting: int, ready: int, arrived: int) -> None:
    store = StoreView((depth(waiting=waiting, arrived=arrived),))
    first = once(store, FleetView(ready, ready))
    assert first == once(store, FleetView(ready, ready))
    assert 0 <= (first[0].desired_replicas or 0) <= 20


@given(st.integers(0, 20), st.floats(0, 1e6))
def test_unknown_never_lowers(ready: int, since: float) -> None:
    decision, _ = once(Unknown("X", "x.", since), FleetView(ready, ready))
    assert decision.desired_replicas == ready


@pytest.mark.parametrize(
    ("store", "fleet", "scaling", "desired", "said"),
    [
        (StoreView((depth(waiting=1, paused=True),)), FleetView(), {}, 0, "limited by the pause of queue default."),
        (StoreView((depth(paused=True),)), FleetView(), {}, 0, "0 pods: nothing to do."),
        (StoreView(()), FleetView(draining=1), {}, 0, "0 pods: nothing to do; 1 pod drains."),
        (StoreView(()), FleetView(), {"minReplicas": 2}, 2, "raised by minReplicas 2"),
        (StoreView((depth(waiting=10**6),)), FleetView(), {}, 20, "maxReplicas 20"),
        (StoreView((depth(waiting=10**6),)), FleetView(), {"manualReplicas": 3}, 3, "set by manualReplicas 3; the rule"),
        (StoreView(()), FleetView(), {"idleSlots": 21}, 2, "2 pods wanted to keep as many slots free"),
        (StoreView((depth(waiting=10**6),), server=ServerView(0, 100, 91)), FleetView(), {}, 3, "100 connections"),
        (
            StoreView((depth(waiting=10**6, concurrency_limit=25),)),
            FleetView(),
            {},
            3,
            "the limit of 25 running jobs of queue default",
        ),
        (StoreView((depth(waiting=1, concurrency_limit=25),)), FleetView(), {}, 1, "1 pod wanted so that the jobs"),
        # Two starts in five seconds, of jobs that are taken to last 7.5 s, use five slots; nothing starts sooner on more.
        (
            StoreView((depth(waiting=10**6, rate_limit=0.4),)),
            FleetView(),
            {},
            1,
            "the rate limit of queue default, which 5 slots can use up",
        ),
        (
            StoreView((depth(waiting=10**6, rate_limit=100.0, concurrency_limit=25),)),
            FleetView(),
            {},
            3,
            "the limit of 25 running",
        ),
        (StoreView((depth(waiting=1, rate_limit=0.001),)), FleetView(), {}, 1, "1 pod wanted so that the jobs"),
        (
            StoreView((depth(waiting=10**6, oldest_seconds=16.0, rate_limit=0.4),)),
            FleetView(5, 5),
            {"scaleIn": {"windowSeconds": 0}},
            1,
            "the rate limit of queue default",
        ),
        (StoreView(()), FleetView(5, 5), {}, 5, "scale-in to 0 allowed at"),
        # One job is soon done by five pods, but it has waited for long.
        (
            StoreView((depth(waiting=1, oldest_seconds=16.0),)),
            FleetView(5, 5),
            {"scaleIn": {"windowSeconds": 0}},
            5,
            "have waited",
        ),
        # The fleet has all slots that the queue's limit can use, or it has not.
        (
            StoreView((depth(waiting=99, oldest_seconds=99.0, concurrency_limit=25),)),
            FleetView(9, 9, busy={"default": 25}),
            {"scaleIn": {"windowSeconds": 0}},
            3,
            "the limit of 25 running jobs",
        ),
        (
            StoreView((depth(waiting=1, oldest_seconds=16.0, concurrency_limit=51),)),
            FleetView(5, 5),
            {"scaleIn": {"windowSeconds": 0}},
            5,
            "have waited",
        ),
        (StoreView((depth(waiting=1, oldest_seconds=14.0),)), FleetView(5, 5), {"scaleIn": {"windowSeconds": 0}}, 1, "1 pod"),
        (StoreView((), degraded="depths"), FleetView(5, 5), {"scaleIn": {"windowSeconds": 0}}, 5, "read in part only"),
        (
            StoreView((depth(waiting=1),)),
            FleetView(5, 3, (StartingPod("a", 1.0), StartingPod("b", 1.0))),
            {"scaleIn": {"windowSeconds": 0}},
            5,
            "while jobs wait for 2 pods to start",
        ),
        (StoreView(()), FleetView(5, 5, rolling_out=True), {"scaleIn": {"windowSeconds": 0}}, 5, "during a rollout"),
        (StoreView(()), FleetView(10, 10), {"scaleIn": {"windowSeconds": 0, "maxStep": "10%"}}, 9, "in steps of 10%"),
        (StoreView(()), FleetView(10, 9, draining=1), {"scaleIn": {"windowSeconds": 0, "maxStep": "1"}}, 9, "in steps of 1"),
        (
            StoreView((depth(waiting=10**6),)),
            FleetView(2, 0, (StartingPod("a", 999.0), StartingPod("b", 999.0))),
            {},
            2,
            "no pod becomes Ready",
        ),
    ],
)
def test_bounds_and_guards(store: StoreView, fleet: FleetView, scaling: dict[str, Any], desired: int, said: str) -> None:
    decision, _ = once(store, fleet, **scaling)
    assert decision.desired_replicas == desired
    assert said in decision.sentence


def test_the_rule_returns_after_the_manual_time() -> None:
    store = StoreView(())
    scaling = {"manualReplicas": 4, "manualSeconds": 100}
    first, memory = once(store, **scaling)
    assert first.desired_replicas == 4
    later, memory = once(store, FleetView(4, 4), memory, 101.0, **scaling)
    assert later.desired_replicas == 0


def test_job_seconds_and_arrivals_are_learnt() -> None:
    _, memory = once(StoreView((depth(),)))
    store = StoreView((depth(arrived=600, finished=Finished(60, 120.0, 240.0)),))
    decision, _ = once(store, FleetView(), memory, 60.0)
    (default, _) = decision.queues
    assert (default.job_seconds, default.measured) == (pytest.approx(2.0), True)
    assert default.arrivals_slow == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("running_seconds", "seconds"),
    # Ten jobs of a second are a second old on average; only far older ones say more, beside the fifty that made the estimate.
    [(10.0, 1.0), (30.0, 1.0), (4000.0, 81.0)],
)
def test_only_surprisingly_old_jobs_change_the_estimate(running_seconds: float, seconds: float) -> None:
    seen = depth(running=10, running_seconds=running_seconds, finished=Finished(100, 100.0, 200.0))
    _, _, job = update_queue(QueueMemory("default"), seen, 30.0, 0.0)
    assert job.mean == pytest.approx(seconds)


def test_many_short_jobs_do_not_make_the_estimate_jump() -> None:
    memory, _, _ = update_queue(QueueMemory("default"), depth(finished=Finished(20_000, 20_000.0, 40_000.0)), 30.0, 0.0)
    _, _, job = update_queue(memory, depth(finished=Finished(21_000, 22_000.0, 48_000.0)), 30.0, 1.0)
    assert 1.0 < job.mean < 1.1


def test_what_an_assumed_job_time_asked_for_is_not_held() -> None:
    _, memory = once(StoreView((depth(),)))
    decision, memory = once(StoreView((depth(arrived=40, waiting=40),)), FleetView(), memory, 2.0)
    asked = decision.desired_replicas
    assert asked is not None
    measured = StoreView((depth(arrived=60, running=5, finished=Finished(55, 5.5, 1.1)),))
    decision, _ = once(measured, FleetView(asked, asked), memory, 4.0)
    assert decision.desired_replicas == 1 < asked


def test_a_restart_scales_nothing_in_though_jobs_are_measured_at_once() -> None:
    decision, _ = once(StoreView((depth(finished=Finished(1000, 1000.0, 2000.0)),)), FleetView(9, 9))
    assert decision.desired_replicas == 9


@pytest.mark.parametrize(("arrived", "desired"), [(3000, 0), (3001, 1)])
def test_a_fleet_goes_when_nothing_came_for_a_window(arrived: int, desired: int) -> None:
    """The slow average would keep a pod for longer where the goal is shorter than a pod's start; one more job does."""
    fleet, memory = FleetView(1, 1), ScalingMemory(pod_start_seconds=60.0)
    for second in range(0, 60, 2):
        store = StoreView((depth(arrived=50 * second, running=5, finished=Finished(50 * second, 5.0 * second, 0.5 * second)),))
        _, memory = once(store, fleet, memory, float(second))
    quiet = StoreView((depth(arrived=3000, finished=Finished(3000, 300.0, 30.0)),))
    decision, memory = once(quiet, fleet, memory, 60.0)
    assert decision.desired_replicas == 1
    last = StoreView((depth(arrived=arrived, finished=Finished(arrived, arrived / 10, arrived / 100)),))
    decision, _ = once(last, fleet, memory, 70.0)
    assert decision.desired_replicas == desired


def test_what_a_backlog_asked_for_is_kept_half_as_long_as_what_a_stream_needs() -> None:
    fleet, memory, done = FleetView(20, 20), ScalingMemory(pod_start_seconds=5.0), Finished(1000, 1000.0, 2000.0)
    _, memory = once(StoreView((depth(waiting=10_000, arrived=11_000, finished=done),)), fleet, memory, 0.0)
    memory = replace(memory, began=(0.0, 5))
    gone = StoreView((depth(arrived=11_000, finished=done),))
    for now, desired in ((29.0, 20), (31.0, 5), (59.0, 5), (61.0, 0)):
        assert once(gone, fleet, memory, now, scaleIn={})[0].desired_replicas == desired
    # A window that somebody chose is what it says.
    assert once(gone, fleet, memory, 59.0, scaleIn={"windowSeconds": 60})[0].desired_replicas == 20


def test_a_straggler_does_not_make_a_burst_longer() -> None:
    def lasted(straggler: float | None) -> float:
        memory, arrived, rate = QueueMemory("default"), 0, Rate()
        for tick in range(220):
            now = tick / 2
            arrived += 100 if 100 <= now < 103 else 1 if now == straggler else 0
            memory, rate, _ = update_queue(memory, depth(arrived=arrived), 1.0, now)
        assert rate.excess > 0
        return rate.age

    assert lasted(108.5) == lasted(None) < 10


def test_a_look_in_part_teaches_nothing() -> None:
    """Arrivals that were not read must be no silence, and none of them a burst when they are read again."""
    fleet, memory = FleetView(3, 3), ScalingMemory()
    for second in range(0, 120, 2):
        _, memory = once(StoreView((depth(arrived=10 * second),)), fleet, memory, float(second))
    before = memory.queues
    for second in range(120, 240, 2):
        part = StoreView((depth(arrived=1180),), degraded="arrivals")
        decision, memory = once(part, fleet, memory, float(second))
        assert (decision.desired_replicas or 0) >= 3
    assert memory.queues == before
    assert memory.idle is None
    decision, memory = once(StoreView((depth(arrived=2400),)), fleet, memory, 240.0)
    assert decision.queues[0].arrivals_fast == pytest.approx(10.0, rel=0.05)
    assert memory.queues[0].burst is None


def test_more_pods_are_asked_for_every_half_second_at_most() -> None:
    spec = {"maxReplicas": 100}
    first, memory = once(StoreView((depth(waiting=100, arrived=100),)), FleetView(), ScalingMemory(), 0.0, **spec)
    asked = first.desired_replicas or 0
    coming = FleetView(asked, 0, tuple(StartingPod(f"p{n}", 0.1) for n in range(asked)))
    more = StoreView((depth(waiting=2000, arrived=2000),))
    # Also where the fleet is not seen yet as it was just written.
    for seen in (coming, FleetView()):
        soon, later = once(more, seen, memory, 0.1, **spec)
        assert soon.desired_replicas == asked
        assert f"scale-out to {(once(more, seen, memory, 0.6, **spec)[0].desired_replicas)} in a moment" == soon.pending
    assert (once(more, coming, later, 0.6, **spec)[0].desired_replicas or 0) > asked
