"""What must hold of decisions whatever happens: each invariant of the scaling rule as a property.

Reproducible and never lower while nothing is known: ``test_scaling.py``. No busy pod is hit: ``test_plan.py``, and through
rollouts, restarts and outages ``test_world.py``.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill_operator.model.observed import (
    Finished,
    FleetView,
    Moment,
    Observed,
    QueueDepth,
    StartingPod,
    StoreView,
    Unknown,
    Verdict,
)
from rivermill_operator.model.status import Decision
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.estimate import JobSeconds, Rate
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.scaling import decide
from rivermill_operator.plan.terms import Capacity, Load, compute
from rivermill_operator.plan.versions import LOWEST_COST
from tests.unit.plan.build import VERSION, client, deployment, depth, job_queue, pod

CAPACITIES = st.builds(Capacity, st.integers(0, 30), st.integers(0, 30), st.sampled_from([1, 10]), st.floats(1, 90))
LOADS = st.builds(
    Load,
    name=st.sampled_from(["a", "b"]),
    goal=st.sampled_from([1.0, 5.0, 30.0, 600.0]),
    slots_per_pod=st.sampled_from([1, 10]),
    rate=st.builds(
        lambda base, excess, age: Rate(base, base + excess, base, excess, age),
        st.floats(0, 40),
        st.floats(0, 40),
        st.floats(0, 60),
    ),
    job=st.builds(JobSeconds, st.floats(0.05, 300)),
    waiting=st.integers(0, 3_000),
    due_soon=st.integers(0, 300),
    oldest=st.floats(0, 60),
    busy=st.integers(0, 100),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(LOADS, min_size=1, max_size=2), CAPACITIES, st.integers(1, 500), st.floats(0.1, 40), st.floats(1.01, 3))
def test_more_work_never_needs_fewer_pods(loads: list[Load], capacity: Capacity, jobs: int, rate: float, factor: float) -> None:
    first, *rest = (replace(load, slots_per_pod=min(load.slots_per_pod, capacity.slots)) for load in loads)
    wanted = compute([first, *rest], capacity, 100)
    for more in (
        replace(first, waiting=first.waiting + jobs),
        replace(first, rate=replace(first.rate, base=first.rate.base + rate, fast=first.rate.fast + rate)),
        replace(first, job=replace(first.job, mean=first.job.mean * factor)),
    ):
        assert compute([more, *rest], capacity, 100).out >= wanted.out


SCALINGS = st.fixed_dictionaries(
    {"maxReplicas": st.integers(10, 20), "minReplicas": st.integers(0, 10), "idleSlots": st.integers(0, 1_000)},
    optional={
        "manualReplicas": st.integers(0, 100),
        "schedules": st.just([{"cron": "* * * * *", "durationSeconds": 3600, "replicas": 10}]),
        "fallback": st.just({"afterSeconds": 1, "replicas": 100}),
        "scaleIn": st.builds(lambda seconds: {"windowSeconds": seconds, "maxStep": "2"}, st.integers(0, 60)),
    },
)
DEPTHS = st.builds(depth, waiting=st.integers(0, 5_000), oldest_seconds=st.floats(0, 60), due_soon=st.integers(0, 300))


@settings(max_examples=100, deadline=None)
@given(
    SCALINGS,
    st.one_of(st.none(), st.integers(3, 60)),
    st.one_of(DEPTHS, st.floats(0, 100)),
    st.integers(0, 30),
    st.lists(st.sampled_from([0.0, 200.0]), max_size=30),
    st.booleans(),
)
def test_no_setting_brings_a_fleet_out_of_its_bounds(
    scaling: dict[str, Any],
    connections: int | None,
    seen: QueueDepth | float,
    ready: int,
    starting: list[float],
    degraded: bool,
) -> None:
    """Whatever is there already is brought within them, too, as soon as the queues can be read."""
    spec = job_queue(**scaling).spec
    spec = replace(spec, database=replace(spec.database, max_connections=connections))
    fleet = FleetView(ready + len(starting), ready, tuple(StartingPod(f"s{n}", age) for n, age in enumerate(starting)))
    store = Unknown("X", "x.", seen) if isinstance(seen, float) else StoreView((seen,), degraded="depths" if degraded else None)
    decision, _ = decide(spec, store, fleet, ScalingMemory(), Moment(0.0))
    most = scaling["maxReplicas"] if connections is None else min(scaling["maxReplicas"], connections // 3)
    most = most if isinstance(store, StoreView) else max(most, fleet.accepting)
    assert 0 <= (decision.desired_replicas or 0) <= most


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(Verdict), st.integers(0, 6)), min_size=1, max_size=3),
    st.integers(0, 2**32),
    st.sampled_from([{}, {"fallback": {"afterSeconds": 1, "replicas": 9}}, {"manualReplicas": 0}, {"maxReplicas": 1}]),
    st.floats(0, 100),
)
def test_without_a_look_at_the_queues_no_pod_is_taken(
    fleet: list[tuple[int, Verdict, int]], seed: int, scaling: dict[str, Any], since: float
) -> None:
    """Whatever the versions and pods are, and whatever was going on before."""
    rng, names = random.Random(seed), (VERSION, "0ld", "older")
    deployments = [deployment(replicas, name, verdict=v) for (replicas, v, _), name in zip(fleet, names, strict=False)]
    numbered = [(100 * place + n, name) for place, name in enumerate(names[: len(fleet)]) for n in range(fleet[place][2])]
    pods = tuple(pod(n, name, ready=rng.random() < 0.7, deletion_cost=rng.choice([0, LOWEST_COST])) for n, name in numbered)
    memory = Memory(costed=tuple((one.uid, 0.0) for one in pods), draining=tuple((one.uid, 0.0) for one in pods))
    done = plan(Observed(99.0, Unknown("X", "x.", since), tuple(deployments), pods), job_queue(**scaling), memory)
    assert (done.cordon, done.deletion_costs, done.deletions) == ((), (), ())
    current = {one.name: one.replicas for one in deployments}
    assert all(scale.replicas > current[scale.deployment] for scale in done.scales)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), DEPTHS, st.integers(1, 3_000), st.integers(0, 40), st.integers(0, 10))
def test_more_jobs_that_wait_never_lower_what_is_decided(
    seed: int, seen: QueueDepth, jobs: int, ready: int, starting: int
) -> None:
    """Not only the terms: with what is remembered, windows and guards, too."""
    rng, follower = random.Random(seed), Follower(scaleIn={"windowSeconds": 10})
    for look in range(30):
        follower.step(2.0 * look, rng.choice([0.0, 5.0, 40.0]))
    known = follower.memory.queues[0]
    seen = replace(seen, arrived=known.samples[-1][1], finished=known.finished)
    fleet = FleetView(ready + starting, ready, tuple(StartingPod(f"s{n}", 1.0) for n in range(starting)))
    few, more = (
        decide(follower.spec, StoreView((one,)), fleet, follower.memory, Moment(62.0))[0].desired_replicas or 0
        for one in (seen, replace(seen, waiting=seen.waiting + jobs))
    )
    assert more >= few


# --- a fleet that follows its decisions, as pods that start and drain at once ---


class Follower:
    """One queue and a fleet that is as large as was decided; ``writes`` counts changes of its size."""

    def __init__(self, **scaling: object) -> None:
        self.spec = job_queue(**{"scaleIn": {}, "maxReplicas": 100, **scaling}).spec
        self.memory = ScalingMemory(pod_start_seconds=8.0)
        self.size = 0
        self.writes = 0
        self.arrived = 0.0
        self.done = 0.0

    def step(self, now: float, rate: float, seconds: float = 2.0, degraded: str | None = None) -> Decision:
        self.arrived += rate * seconds
        self.done += rate * seconds
        jobs = int(self.done)
        store = StoreView(
            (
                depth(
                    arrived=int(self.arrived),
                    running=round(rate),
                    running_seconds=rate,
                    finished=Finished(jobs, jobs, 2.0 * jobs),
                ),
            ),
            degraded=degraded,
        )
        fleet = FleetView(self.size, self.size, busy={"default": round(rate)})
        decision, self.memory = decide(self.spec, store, fleet, self.memory, Moment(now))
        assert decision.desired_replicas is not None
        self.writes += decision.desired_replicas != self.size
        self.size = decision.desired_replicas
        return decision


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([5.0, 20.0, 60.0]))
def test_noise_makes_few_writes(seed: int, rate: float) -> None:
    """Ten per cent of noise every minute: at most four writes an hour."""
    rng, follower, level = random.Random(seed), Follower(), rate
    for look in range(2_400):
        level = rate * rng.uniform(0.9, 1.1) if look % 30 == 0 else level
        follower.step(2.0 * look, level)
        if look == 600:
            follower.writes = 0
    assert follower.writes <= 4


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 90), st.booleans())
def test_a_restart_delays_scale_in_and_changes_nothing_else(seed: int, at: int, in_part: bool) -> None:
    """For a whole window nothing that was there goes, also where the first look finds little and the next one much."""
    rng = random.Random(seed)
    steady, restarted = Follower(), Follower()
    rates = [rng.choice([0.0, 5.0, 40.0]) for _ in range(12)]
    before = 0
    for look in range(120):
        rate = rates[look // 10]
        if look == at:
            before = restarted.size
            restarted.memory = ScalingMemory()
        steady.step(2.0 * look, rate)
        restarted.step(2.0 * look, rate, degraded="durations" if in_part and look == at else None)
        if at <= look < at + 30:
            assert restarted.size >= before, "nothing is scaled in by a restart"
    for look in range(120, 270):
        steady.step(2.0 * look, 5.0)
        restarted.step(2.0 * look, 5.0)
    assert steady.size == restarted.size


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 12), st.integers(0, 8), st.integers(0, 4), st.integers(0, 12), st.integers(0, 2**32))
def test_as_many_pods_claim_as_are_wanted_or_as_did(working: int, starting: int, missing: int, wanted: int, seed: int) -> None:
    """A scale-in takes no pod that works in the place of one that starts, or is still to be made."""
    rng = random.Random(seed)
    pods = [pod(n, age_seconds=rng.uniform(0, 99), ready=n < working) for n in range(working + starting)]
    clients = tuple(client(n, running=rng.randint(0, 2)) for n in range(working))
    replicas = len(pods) + missing
    queue = job_queue(minReplicas=wanted, scaleIn={"windowSeconds": 0})
    store = StoreView((depth(running=sum(one.running for one in clients)),), clients)
    done = plan(Observed(0.0, store, (deployment(replicas),), tuple(pods)), queue, Memory())
    assert done.decision.desired_replicas is not None
    assert working - len(done.cordon) >= min(working, done.decision.desired_replicas)
    assert all(scale.replicas > replicas for scale in done.scales)


@given(st.integers(0, 2_000), st.integers(1, 20), st.integers(0, 20))
def test_pods_that_start_are_kept_while_the_jobs_that_wait_need_them(waiting: int, starting: int, ready: int) -> None:
    """Asked again with the pods on their way, the same jobs ask for no fewer than without them."""
    spec = job_queue(maxReplicas=100, scaleIn={"windowSeconds": 0}).spec
    store = StoreView((depth(waiting=waiting, oldest_seconds=1.0),))
    alone, memory = decide(spec, store, FleetView(ready, ready), ScalingMemory(pod_start_seconds=8.0), Moment(0.0))
    asked = alone.desired_replicas or 0
    coming = tuple(StartingPod(f"s{n}", 1.0) for n in range(max(0, asked - ready)))
    decision, _ = decide(spec, store, FleetView(asked, ready, coming), memory, Moment(1.0))
    if waiting:
        assert (decision.desired_replicas or 0) >= asked


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 12))
def test_a_scale_in_waits_for_the_one_before(count: int, seed: int) -> None:
    """While a pod that was marked has not gone, a second look marks and removes nothing more for it."""
    rng = random.Random(seed)
    drained = {n for n in range(count) if rng.random() < 0.5}
    clients = tuple(
        client(n, wanted_state="cordoned", state="drained") if n in drained else client(n, running=1) for n in range(count)
    )
    marked = tuple(pod(n, ready=n not in drained, deletion_cost=-(2**31) + 1 if n in drained else 0) for n in range(count))
    queue = job_queue(minReplicas=count - len(drained), scaleIn={"windowSeconds": 0})
    seen = Observed(0.0, StoreView((depth(running=count - len(drained)),), clients), (deployment(count),), marked)
    first = plan(seen, queue, Memory())
    second = plan(replace(seen, now=1.5), queue, first.memory)
    assert [scale.replicas for scale in second.scales] == ([count - len(drained)] if drained else [])
    # The Deployment has been scaled, its pods are still there, or are being deleted: nothing is left to write.
    for pods in (marked, tuple(replace(one, deleting=one.deletion_cost != 0) for one in marked)):
        after = replace(seen, now=2.0, deployments=(deployment(count - len(drained)),), pods=pods)
        third = plan(after, queue, second.memory)
        assert (third.scales, third.cordon, third.uncordon, third.deletion_costs) == ((), (), (), ())


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_jump_of_the_clock_changes_nothing(jump: timedelta) -> None:
    """Only schedules look at the time of day; ages come from the database's clock, windows from a monotonic one."""
    queue, memory, jumped = job_queue(), Memory(), Memory()
    for look in range(40):
        store = StoreView((depth(waiting=max(0, 200 - 10 * look), arrived=10 * look),), (client(1),))
        observed = Observed(2.0 * look, store, (deployment(1),), (pod(1),))
        plain = plan(observed, queue, memory)
        other = plan(
            replace(observed, utc=observed.utc + timedelta(days=9) + (jump if look > 20 else timedelta())), queue, jumped
        )
        assert other == plain
        memory, jumped = plain.memory, other.memory
