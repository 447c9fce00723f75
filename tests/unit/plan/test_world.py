"""What must hold of a fleet through everything at once: load that comes and goes, rollouts, restarts, outages and evictions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill_operator.model.observed import Observed, StoreView, Verdict
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build
from tests.unit.plan.build import body
from tests.unit.plan.world import World

#: Then everything is left alone, and there is nothing more to do.
QUIET_AT = 150.0


@cache
def job_queue(image: str, window: int | str) -> JobQueue:
    value = body(maxReplicas=12, scaleIn={"windowSeconds": window})
    value["spec"]["worker"]["image"] = image
    return parse_job_queue(value)


def last_accepted(seen: Observed, live: str, wanted: Mapping[str, float]) -> str | None:
    """The version that may have more pods beside the live one; ``wanted`` is when each was last the live one."""
    names = [d.template_hash for d in seen.deployments if d.verdict is Verdict.ACCEPTED and d.template_hash != live]
    return max(names, key=lambda name: wanted[name], default=None)


#: The window, and after how long all is gone: also pods that never start are late by then, twice over.
@pytest.mark.parametrize(("window", "rest"), [(0, 300.0), (20, 300.0), ("auto", 700.0)])
@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32))
def test_no_busy_pod_is_hit_claims_go_on_and_what_is_not_needed_goes(window: int | str, rest: float, seed: int) -> None:
    world, memory, image = World(random.Random(seed)), Memory(), "one"
    rng, wanted = world.rng, dict[str, float]()
    while world.now < QUIET_AT + rest:
        busy = world.now < QUIET_AT
        world.step(rng.choice([0, 0, 1, 3] if int(world.now / 40) % 2 == 0 else [2, 6, 12]) if busy else 0)
        if busy and rng.random() < 0.015:
            image = rng.choice(["one", "two", "three", "four"])
        if busy and rng.random() < 0.01:
            world.evict()
        if busy and rng.random() < 0.01:
            world.blind(rng.choice([2.0, 30.0]))
        if busy and rng.random() < 0.01:
            memory = Memory()
        if rng.random() < 0.3:
            continue  # no look at this moment
        before, seen = world.claiming, world.look()
        done = plan(seen, job_queue(image, window), memory)
        memory = done.memory
        assert all(not any(pod.version == gone.name[2:] for pod in world.pods.values()) for gone in done.deletions)
        live = build(job_queue(image, window)).version
        assert {scale.deployment[2:] for scale in done.scales if scale.grows} <= {live, last_accepted(seen, live, wanted)}
        wanted[live] = world.now
        world.apply(done)
        if isinstance(seen.store, StoreView):
            assert world.claiming >= min(before, done.decision.desired_replicas or 0)
        else:
            assert world.claiming == before
    assert world.hit == []
    assert (world.waiting, sum(group.replicas for group in world.sets.values())) == (0, 0)
