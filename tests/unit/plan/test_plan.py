"""Decisions as tables, and scale-in episodes against the ReplicaSet's own ranking."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivermill_operator.model.observed import PAUSED, ClientView, Observed, PodView, ServerView, StoreView, Unknown, Verdict
from rivermill_operator.model.spec import DeletionPolicy, Mode
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build, merge
from rivermill_operator.plan.memory import ScalingMemory
from rivermill_operator.plan.versions import LOWEST_COST
from tests.unit.plan.build import VERSION, client, deployment, depth, job_queue, pod

IDLE = StoreView((depth(), depth("high")))


def test_a_missing_deployment_is_made_empty_first() -> None:
    done = plan(Observed(0, IDLE), job_queue(), Memory())
    assert [item.name for item in done.apply] == [f"q-{VERSION}"]
    assert "replicas" not in done.apply[0].deployment["spec"]
    assert not done.scales


def test_scale_out_is_one_write() -> None:
    store = StoreView((depth(waiting=100), depth("high")))
    done = plan(Observed(0, store, (deployment(0),)), job_queue(), Memory())
    assert [(s.replicas, s.resource_version) for s in done.scales] == [(4, "7")]


@pytest.mark.parametrize("since", [0.0, 1e6])
def test_unknown_is_not_zero(since: float) -> None:
    unknown = Unknown("DatabaseUnreachable", "gone.", since)
    done = plan(Observed(0, unknown, (deployment(3),), (pod(1), pod(2), pod(3))), job_queue(), Memory())
    assert (done.decision.desired_replicas, done.scales, done.cordon) == (3, (), ())
    states = {c.type: (c.status, c.reason) for c in done.conditions}
    assert states["QueueObserved"] == ("False", "DatabaseUnreachable")
    assert states["Ready"][0] == "False"


def test_fallback_raises_and_never_lowers() -> None:
    queue = job_queue(fallback={"afterSeconds": 5, "replicas": 2})
    for current, wanted in ((0, 2), (4, 4)):
        observed = Observed(0, Unknown("X", "x.", 6), (deployment(current),))
        assert plan(observed, queue, Memory()).decision.desired_replicas == wanted


@pytest.mark.parametrize("scaling", [{"fallback": {"afterSeconds": 5, "replicas": 9}}, {"manualReplicas": 9}])
def test_connections_bound_what_is_wanted_without_a_look(scaling: dict[str, Any]) -> None:
    queue = job_queue(**scaling)
    queue = replace(queue, spec=replace(queue.spec, database=replace(queue.spec.database, max_connections=12)))
    observed = Observed(0, Unknown("X", "x.", 6), (deployment(1),), (pod(1),))
    assert [scale.replicas for scale in plan(observed, queue, Memory()).scales] == [4]


def test_restart_does_not_scale_in_before_the_window_has_refilled() -> None:
    observed = Observed(100.0, IDLE, (deployment(3),), (pod(1), pod(2), pod(3)))
    first = plan(observed, job_queue(), Memory())
    assert first.decision.desired_replicas == 3
    later = plan(replace(observed, now=105.0), job_queue(), first.memory)
    assert later.decision.desired_replicas == 3
    last = plan(replace(observed, now=111.0), job_queue(), later.memory)
    assert last.decision.desired_replicas == 0


def test_conflict_writes_nothing() -> None:
    store = StoreView((depth(waiting=45),))
    done = plan(Observed(0, store, (deployment(1),), (pod(1),), conflict="HPA x."), job_queue(), Memory())
    assert not done.scales
    assert done.decision.sentence.startswith("Nothing is scaled: HPA x. It would be 1 pod: 45 jobs waiting")
    assert ("TargetConflict", "True") in {(c.type, c.status) for c in done.conditions}


def test_warm_pods_come_back_before_new_ones() -> None:
    clients = (client(1, wanted_state="cordoned", state="cordoned", running=2), client(2))
    store = StoreView((depth(waiting=120),), clients)
    done = plan(Observed(0, store, (deployment(2),), (pod(1, ready=False), pod(2))), job_queue(), Memory())
    assert done.uncordon == ("c1",)
    assert [s.replicas for s in done.scales] == [4]


@pytest.mark.parametrize(
    ("changes", "removable"),
    [
        ({}, True),
        ({"state": "cordoned"}, False),
        ({"running": 1}, False),
        ({"wanted_state": "cordoned", "state": "accepting"}, False),
    ],
)
def test_only_a_drained_pod_is_marked(changes: dict[str, Any], removable: bool) -> None:
    drained = client(1, **{"wanted_state": "cordoned", "state": "drained", **changes})
    observed = Observed(0, StoreView((depth(),), (drained,)), (deployment(1),), (pod(1, ready=False),))
    done = plan(observed, job_queue(scaleIn={"windowSeconds": 0}), Memory())
    assert bool(done.deletion_costs) is removable
    assert not done.scales


def test_a_ready_pod_is_never_marked() -> None:
    drained = client(1, wanted_state="cordoned", state="drained")
    observed = Observed(0, StoreView((depth(),), (drained,)), (deployment(1),), (pod(1, ready=True),))
    assert not plan(observed, job_queue(scaleIn={"windowSeconds": 0}), Memory()).deletion_costs


def ranking(candidate: PodView) -> tuple[bool, bool, bool, int, float]:
    """How a ReplicaSet chooses whom to delete, the first first."""
    return (candidate.scheduled, candidate.started, candidate.ready, candidate.deletion_cost, candidate.age_seconds)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_scale_in_never_hits_a_busy_pod(count: int, seed: int) -> None:
    rng = random.Random(seed)
    queue, memory = job_queue(scaleIn={"windowSeconds": 0}), Memory()
    pods = {n: pod(n) for n in range(count)}
    clients = {n: client(n, running=rng.randint(0, 3)) for n in range(count)}
    replicas, now = count, 0.0
    for _ in range(400):
        if not pods:
            break
        running = sum(c.running for c in clients.values())
        store = StoreView((depth(running=running),), tuple(clients.values()))
        observed = Observed(now, store, (deployment(replicas),), tuple(pods.values()))
        if rng.random() < 0.05:
            memory = Memory()  # a restart at any moment
        done = plan(observed, queue, memory)
        memory = done.memory
        for number, wanted in [(int(c[1:]), "cordoned") for c in done.cordon] + [
            (int(c[1:]), "accepting") for c in done.uncordon
        ]:
            clients[number] = replace(clients[number], wanted_state=wanted)
        for cost in done.deletion_costs:
            pods[int(cost.pod[1:])] = replace(pods[int(cost.pod[1:])], deletion_cost=cost.cost or 0)
        replicas = next((scale.replicas for scale in done.scales), replicas)
        # The ReplicaSet follows at once, or after other looks.
        for victim in sorted(pods.values(), key=ranking)[: max(0, len(pods) - replicas)] if rng.random() < 0.6 else ():
            number = int(victim.name[1:])
            assert clients[number].running == 0
            assert clients[number].state == "drained"
            del pods[number], clients[number]
        for number in list(clients):
            clients[number], pods[number] = _live_on(clients[number], pods[number], rng)
        now += rng.choice([0.1, 0.5, 1.5])
    assert not pods


def _live_on(worker: ClientView, home: PodView, rng: random.Random) -> tuple[ClientView, PodView]:
    """Jobs end, accepting workers claim now and then at first, cordoned ones drain."""
    running = max(0, worker.running - (rng.random() < 0.4))
    state = worker.state
    if worker.wanted_state == "cordoned":
        state = "drained" if running == 0 and state == "cordoned" else "cordoned" if state == "accepting" else state
    else:
        state = "accepting"
    return replace(worker, running=running, running_by_queue={"default": running}, state=state), replace(
        home, ready=state == "accepting"
    )


def test_empty_old_versions_are_kept_for_a_while() -> None:
    observed = Observed(0, IDLE, (deployment(0), deployment(0, "0ld")))
    first = plan(observed, job_queue(), Memory())
    assert not first.deletions
    later = plan(replace(observed, now=90_000.0), job_queue(), first.memory)
    assert [d.name for d in later.deletions] == ["q-0ld"]


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.REJECTED])
def test_the_last_accepted_version_is_kept_until_another_is_accepted(verdict: Verdict) -> None:
    """However long the fleet is idle: without it a version that was rejected would get all jobs."""
    observed = Observed(
        0, IDLE, (deployment(0, verdict=verdict), deployment(0, "0ld"), deployment(0, "older", live_seconds=999.0))
    )
    first = plan(observed, job_queue(), Memory())
    later = plan(replace(observed, now=90_000.0), job_queue(), first.memory)
    assert [gone.name for gone in later.deletions] == ["q-older"]
    busy = replace(observed, now=90_001.0, store=StoreView((depth(waiting=9),)), deployments=observed.deployments[:2])
    assert "q-0ld" in [scale.deployment for scale in plan(busy, job_queue(), later.memory).scales]


def test_a_dozen_old_versions_are_too_many() -> None:
    """All but the ten that were live last go, and the last one that was accepted stays."""
    old = [deployment(0, f"v{n:02}", live_seconds=200.0 + n, verdict=Verdict.PENDING) for n in range(14)]
    old[12] = replace(old[12], verdict=Verdict.ACCEPTED)
    done = plan(Observed(0, IDLE, (deployment(0), *old)), job_queue(), Memory())
    assert [gone.name for gone in done.deletions] == ["q-v10", "q-v11", "q-v13"]


def test_deletion_drains_then_deletes_then_is_done() -> None:
    gone = replace(job_queue(), deleting=True)
    busy = Observed(0, StoreView((depth(),), (client(1, running=1),)), (deployment(1),), (pod(1),))
    first = plan(busy, gone, Memory())
    assert (first.cordon, first.scales, first.done) == (("c1",), (), False)
    assert first.decision.sentence == "The JobQueue is being deleted (Drain): 1 pod is left, with 1 job running."
    assert (first.decision.ready, first.decision.draining) == (1, 0)
    told = {c.type: (c.status, c.reason, c.message) for c in first.conditions}
    assert told["Ready"] == told["ScalingActive"] == ("False", "Deleting", first.decision.sentence)
    empty = plan(Observed(0, IDLE, (deployment(0),)), gone, Memory())
    assert [d.name for d in empty.deletions] == [f"q-{VERSION}"]
    assert plan(Observed(0, IDLE), gone, Memory()).done


def test_an_orphaned_fleet_takes_jobs_again() -> None:
    """Nobody would call back later what drains at that moment."""
    queue = job_queue()
    gone = replace(queue, deleting=True, spec=replace(queue.spec, deletion_policy=DeletionPolicy.ORPHAN))
    drains = {"wanted_state": "cordoned", "state": "cordoned"}
    store = StoreView((depth(),), (client(1, running=1, **drains), client(2, **drains), client(3)))
    pods = (pod(1, ready=False), pod(2, ready=False, deletion_cost=LOWEST_COST), pod(3))
    done = plan(Observed(0, store, (deployment(3),), pods), gone, Memory())
    assert (sorted(done.uncordon), [(c.pod, c.cost) for c in done.deletion_costs]) == (["c1", "c2"], [("p2", None)])
    assert (done.scales, done.release_ownership, done.done) == ((), (f"q-{VERSION}",), True)


def test_deletion_without_a_secret_trusts_sigterm() -> None:
    gone = replace(job_queue(), deleting=True)
    done = plan(Observed(0, Unknown("SecretNotFound", "x."), (deployment(2),), (pod(1), pod(2))), gone, Memory())
    assert [s.replicas for s in done.scales] == [0]
    assert done.decision.sentence == "The JobQueue is being deleted (Drain): 2 pods are left; the database cannot be read."


def test_marked_pods_go_after_a_second() -> None:
    drained = client(1, wanted_state="cordoned", state="drained")
    marked = pod(1, ready=False, deletion_cost=LOWEST_COST)
    observed = Observed(5.0, StoreView((depth(),), (drained,)), (deployment(1),), (marked,))
    queue = job_queue(scaleIn={"windowSeconds": 0})
    first = plan(observed, queue, Memory())
    assert not first.scales
    assert first.wake_after <= 1.0
    second = plan(replace(observed, now=6.0), queue, first.memory)
    assert [s.replicas for s in second.scales] == [0]


@pytest.mark.parametrize(
    ("now", "last", "replicas"),
    [
        # The last was marked a moment ago: the first one waits for it, but not for long.
        (6.0, 5.5, None),
        (6.5, 5.5, 1),
        (7.0, None, None),
        (9.9, None, None),
        (10.0, None, 2),
    ],
)
def test_pods_that_drain_together_go_in_one_write(now: float, last: float | None, replicas: int | None) -> None:
    drained = [client(n, wanted_state="cordoned", state="drained") for n in (1, 2)]
    first = pod(1, ready=False, deletion_cost=LOWEST_COST)
    second = pod(2, ready=False, deletion_cost=0 if last is None else LOWEST_COST)
    store = StoreView((depth(running=1),), (*drained, client(3, running=1)))
    observed = Observed(now, store, (deployment(3),), (first, second, pod(3)))
    memory = Memory(costed=(("uid1", 5.0), *(() if last is None else (("uid2", last),))))
    queue = job_queue(minReplicas=1, scaleIn={"windowSeconds": 0})
    assert [s.replicas for s in plan(observed, queue, memory).scales] == ([] if replicas is None else [replicas])


@pytest.mark.parametrize(("now", "replicas"), [(6.0, None), (9.9, None), (10.0, 2)])
def test_a_drained_pod_waits_for_one_that_still_drains_but_not_for_long(now: float, replicas: int | None) -> None:
    drained = client(1, wanted_state="cordoned", state="drained")
    store = StoreView((depth(running=2),), (drained, client(2, wanted_state="cordoned", running=1), client(3, running=1)))
    pods = (pod(1, ready=False, deletion_cost=LOWEST_COST), pod(2), pod(3))
    queue = job_queue(minReplicas=1, scaleIn={"windowSeconds": 0})
    done = plan(Observed(now, store, (deployment(3),), pods), queue, Memory(costed=(("uid1", 5.0),)))
    assert [s.replicas for s in done.scales] == ([] if replicas is None else [replicas])


def test_events_only_on_change() -> None:
    broken = Observed(0, Unknown("AuthenticationFailed", "no."), (deployment(0),))
    first = plan(broken, job_queue(), Memory())
    assert [(e.type, e.reason) for e in first.events] == [("Warning", "AuthenticationFailed")]
    assert not plan(broken, job_queue(), first.memory).events
    mended = plan(Observed(1, IDLE, (deployment(0),)), job_queue(), first.memory)
    assert [(e.type, e.reason) for e in mended.events] == [("Normal", "Observed")]


def test_a_look_in_part_says_so() -> None:
    store = StoreView((depth(),), server=ServerView(xmin_age=1234), degraded="depths")
    done = plan(Observed(0, store, (deployment(0),)), job_queue(), Memory())
    found = {c.type: c for c in done.conditions}["QueueObserved"]
    assert (found.status, found.reason) == ("True", "ObservedInPart")
    assert "depths; the oldest snapshot is 1234 transactions old" in found.message


def test_modes_that_do_not_act() -> None:
    """Observe decides and writes nothing; Paused does not decide, and afterwards begins as after a restart."""
    queue, pods = job_queue(), (pod(1), pod(2), pod(3))
    busy = Observed(0, StoreView((depth(waiting=900),)), (deployment(3),), pods)
    spec = queue.spec
    observing = plan(busy, replace(queue, spec=replace(spec, mode=Mode.OBSERVE)), Memory())
    assert (observing.decision.desired_replicas or 0) > 3
    assert (observing.apply, observing.scales, observing.cordon) == ((), (), ())
    paused = plan(replace(busy, store=PAUSED), replace(queue, spec=replace(spec, mode=Mode.PAUSED)), observing.memory)
    assert paused.decision.sentence.startswith("3 pods left alone: spec.mode is Paused")
    assert (paused.apply, paused.scales, paused.cordon) == ((), (), ())
    assert paused.memory.scaling == ScalingMemory()
    states = {c.type: (c.status, c.reason) for c in paused.conditions}
    assert states["QueueObserved"] == ("Unknown", "ModePaused")
    # It is what the user asked for.
    assert [(event.type, event.reason) for event in paused.events] == [("Normal", "ModePaused")]
    resumed = plan(replace(busy, store=IDLE, now=9e9), queue, paused.memory)
    assert (resumed.decision.desired_replicas, resumed.cordon) == (3, ())


@pytest.mark.parametrize(
    ("mode", "conflict", "reasons", "sentence"),
    [
        (Mode.SCALE, None, ["Scaling"], "3 pods: 45 jobs waiting"),
        (
            Mode.SCALE,
            "HPA x.",
            ["WouldScale", "AnotherWriter"],
            "Nothing is scaled: HPA x. It would be 3 pods: 45 jobs waiting",
        ),
        (Mode.OBSERVE, None, ["WouldScale"], "Nothing is scaled: spec.mode is Observe. It would be 3 pods: 45 jobs waiting"),
    ],
)
def test_an_event_says_whether_it_is_done(mode: Mode, conflict: str | None, reasons: list[str], sentence: str) -> None:
    queue = job_queue(minReplicas=3)
    queue = replace(queue, spec=replace(queue.spec, mode=mode))
    busy = Observed(0, StoreView((depth(waiting=45),)), (deployment(1),), (pod(1),), conflict=conflict)
    done = plan(busy, queue, Memory(desired=1))
    assert [event.reason for event in done.events] == reasons
    assert done.events[0].message.startswith(sentence)
    assert done.decision.sentence == done.events[0].message


def test_who_is_paused_is_shown_with_the_pods_that_are_there() -> None:
    queue = job_queue()
    queue = replace(queue, spec=replace(queue.spec, mode=Mode.PAUSED))
    paused = plan(Observed(0, PAUSED, (deployment(2),), (pod(1), pod(2, ready=False))), queue, Memory(desired=9))
    assert (paused.decision.ready, paused.decision.starting) == (1, 1)
    assert paused.decision.sentence.startswith("2 pods left alone: spec.mode is Paused")
    assert paused.events == ()


def test_observe_follows_its_own_decisions_where_others_have_the_pods() -> None:
    """Jobs that run elsewhere count, and what was decided is kept for the window, as with pods of its own."""
    queue, memory = job_queue(), Memory()
    queue = replace(queue, spec=replace(queue.spec, mode=Mode.OBSERVE))
    wanted = []
    for now, running in ((0.0, 60), (2.0, 60), (4.0, 0), (20.0, 0)):
        store = StoreView((depth(running=running, running_seconds=60.0 * running),))
        done = plan(Observed(now, store), queue, memory)
        memory = done.memory
        # What is there is told apart from what is imagined.
        assert done.decision.ready == 0
        wanted.append((done.decision.imagined, done.decision.desired_replicas))
    assert wanted == [(0, 6), (6, 6), (6, 6), (6, 0)]
    held = plan(Observed(22.0, Unknown("X", "x.")), queue, replace(memory, desired=3))
    assert (held.decision.desired_replicas, held.decision.ready, held.decision.imagined) == (3, 0, 3)
    own = plan(Observed(24.0, StoreView((depth(),)), (deployment(2),), (pod(1), pod(2))), queue, memory)
    assert (own.decision.ready, own.decision.imagined) == (2, 0)


@pytest.mark.parametrize(
    ("mode", "conflict", "seconds"), [(Mode.SCALE, None, 0.5), (Mode.SCALE, "HPA x.", 1.5), (Mode.OBSERVE, None, 1.5)]
)
def test_only_who_asks_for_pods_looks_again_soon(mode: Mode, conflict: str | None, seconds: float) -> None:
    queue = job_queue()
    queue = replace(queue, spec=replace(queue.spec, mode=mode))
    busy = Observed(0, StoreView((depth(waiting=900),)), (deployment(1),), (pod(1),), conflict=conflict)
    assert plan(busy, queue, Memory()).wake_after == seconds


def test_template_hash_ignores_scaling_and_sees_the_image() -> None:
    assert build(job_queue(maxReplicas=3)).version == VERSION
    other = job_queue()
    worker = replace(other.spec.worker, image="j")
    assert build(replace(other, spec=replace(other.spec, worker=worker))).version != VERSION


def test_manifest_is_restricted_and_overlaid() -> None:
    queue = job_queue()
    overlay = {"spec": {"containers": [{"name": "worker", "env": [{"name": "A", "value": "1"}]}, {"name": "side"}]}}
    worker = replace(queue.spec.worker, template=overlay)
    pod_spec = build(replace(queue, spec=replace(queue.spec, worker=worker))).deployment["spec"]["template"]["spec"]
    main, side = pod_spec["containers"]
    assert (main["name"], main["command"], side["name"]) == ("worker", ["rivermill"], "side")
    assert {"name": "A", "value": "1"} in main["env"]
    assert main["securityContext"]["readOnlyRootFilesystem"]
    assert pod_spec["automountServiceAccountToken"] is False


def test_merge_replaces_what_has_no_names() -> None:
    assert merge({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"d": 2}}) == {"a": [2], "b": {"c": 1, "d": 2}}
