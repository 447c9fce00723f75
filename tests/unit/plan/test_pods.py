"""What becomes of single pods: protection from node autoscalers, pods that vanish, and pods hit by mistake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rivermill_operator.model.observed import Observed, PodView, StoreView, Unknown
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build
from rivermill_operator.plan.memory import QueueMemory, ScalingMemory
from rivermill_operator.plan.protect import MOST_AT_ONCE
from rivermill_operator.plan.versions import LOWEST_COST
from tests.unit.plan.build import client, deployment, depth, job_queue, pod

QUEUE = job_queue(minReplicas=1)


@pytest.mark.parametrize(
    ("running", "protected", "idle_for", "written"),
    [(1, True, 0, None), (1, False, 0, True), (0, True, 59, None), (0, True, 60, False), (0, False, 99, None)],
)
def test_busy_pods_are_protected(running: int, protected: bool, idle_for: float, written: bool | None) -> None:
    store = StoreView((depth(running=running),), (client(1, running=running),))
    observed = Observed(100.0, store, (deployment(1),), (pod(1, protected=protected),))
    memory = replace(Memory(), idle_since=(("uid1", 100.0 - idle_for),))
    changes = plan(observed, QUEUE, memory).protections
    assert [c.protected for c in changes] == ([] if written is None else [written])


def test_a_large_fleet_is_marked_in_parts_and_busy_pods_come_first() -> None:
    """Twenty writes, one after the other, would be a time in which nobody looks at the fleet."""
    busy = range(MOST_AT_ONCE, 2 * MOST_AT_ONCE + 2)
    count = busy.stop
    clients = tuple(client(n, running=int(n in busy)) for n in range(count))
    pods = tuple(pod(n, protected=n not in busy) for n in range(count))
    memory = replace(Memory(), idle_since=tuple((f"uid{n}", 0.0) for n in range(count)))
    written: list[bool] = []
    for _ in range(3):
        store = StoreView((depth(running=len(busy)),), clients)
        changes = plan(Observed(100.0, store, (deployment(count),), pods), QUEUE, memory).protections
        assert 0 < len(changes) <= MOST_AT_ONCE
        written += [change.protected for change in changes]
        new = {change.pod: change.protected for change in changes}
        pods = tuple(replace(p, protected=new.get(p.name, p.protected)) for p in pods)
    assert written == [True] * len(busy) + [False] * (len(written) - len(busy))


@pytest.mark.parametrize(("running", "written"), [(1, [True]), (0, [])])
def test_a_job_that_came_just_before_the_cordon_is_protected(running: int, written: list[bool]) -> None:
    drains = client(1, running=running, wanted_state="cordoned", state="cordoned")
    observed = Observed(0.0, StoreView((depth(),), (drains,)), (deployment(1),), (pod(1, protected=False),))
    assert [change.protected for change in plan(observed, QUEUE, Memory()).protections] == written


@pytest.mark.parametrize(
    ("changes", "goes"), [({}, False), ({"age_seconds": 121.0}, True), ({"age_seconds": 121.0, "started": True}, False)]
)
def test_a_pod_that_waits_for_something_that_never_comes_is_removed(changes: dict[str, Any], goes: bool) -> None:
    """Such as a volume. It has no client that could be told; without this a JobQueue with such a pod could not be deleted."""
    stuck = pod(1, **{"ready": False, "started": False, "age_seconds": 120.0, **changes})
    gone, memory, now = replace(job_queue(), deleting=True), Memory(), 0.0
    marked = False
    for now in (0.0, 1.0):
        seen = replace(stuck, deletion_cost=LOWEST_COST if marked else 0)
        done = plan(Observed(now, StoreView((depth(),)), (deployment(1),), (seen,)), gone, memory)
        memory, marked = done.memory, marked or bool(done.deletion_costs)
    assert marked is goes


@pytest.mark.parametrize(
    ("silent", "row", "waiting", "desired", "pending"),
    [
        # It may come back, as one that is called back does.
        (5.0, True, 1, 2, "no scale-in while jobs wait for 1 pod to start"),
        (119.0, True, 1, 2, "no scale-in while jobs wait for 1 pod to start"),
        (119.0, True, 200, 8, None),
        # Another takes its place, and nobody waits for it. Its row goes when it has been silent for a minute.
        (121.0, True, 1, 2, None),
        (121.0, True, 200, 9, None),
        (121.0, False, 200, 9, None),
    ],
)
def test_a_pod_that_is_cut_off_from_the_database_counts_for_nothing_in_the_end(
    silent: float, row: bool, waiting: int, desired: int, pending: str | None
) -> None:
    pods = (pod(1), pod(2, ready=False, warm=True, unready_seconds=silent))
    clients = (client(1, running=10), *([client(2, silent_seconds=silent)] if row else []))
    store = StoreView((depth(waiting=waiting, running=10, oldest_seconds=1.0),), clients)
    done = plan(Observed(0.0, store, (deployment(2),), pods), job_queue(scaleIn={"windowSeconds": 0}), Memory())
    assert (done.decision.desired_replicas, done.decision.pending, done.cordon) == (desired, pending, ())
    # Nor does it tell anything of starts.
    assert done.decision.pod_start_seconds == 30.0


@pytest.mark.parametrize("row", [True, False])
@pytest.mark.parametrize(("readable", "desired", "reason"), [(119.0, 8, "Healthy"), (121.0, 9, "NotReady")])
def test_after_an_outage_every_worker_has_time_to_come_back(readable: float, desired: int, reason: str, *, row: bool) -> None:
    """The time for which the database was away says nothing of them: the fleet grew by half, and healthy pods were blamed."""
    pods = (pod(1), pod(2, ready=False, warm=True, unready_seconds=900.0))
    clients = (client(1, running=10), *([client(2, silent_seconds=900.0)] if row else []))
    store = StoreView((depth(waiting=200, running=10, oldest_seconds=1.0),), clients)
    seen = Observed(0.0, store, (deployment(2),), pods, readable_seconds=readable)
    done = plan(seen, job_queue(scaleIn={"windowSeconds": 0}), Memory())
    found = {condition.type: condition.reason for condition in done.conditions}
    assert (done.decision.desired_replicas, found["WorkersAvailable"], done.deletion_costs) == (desired, reason, ())


@pytest.mark.parametrize(("silent", "goes"), [(119.0, False), (121.0, True)])
def test_a_pod_that_is_cut_off_and_has_lost_its_row_is_removed(silent: float, goes: bool) -> None:
    """Nobody can tell it anything, and its jobs run elsewhere. Such a fleet could not shrink, nor its JobQueue be deleted."""
    away = pod(2, ready=False, warm=True, unready_seconds=silent)
    idle = Observed(0.0, StoreView((depth(),), (client(1),)), (deployment(2),), (pod(1), away))
    for queue in (replace(job_queue(), deleting=True), job_queue(scaleIn={"windowSeconds": 0})):
        done = plan(idle, queue, Memory())
        assert [cost.pod for cost in done.deletion_costs] == (["p2"] if goes else [])
        # It goes first.
        assert done.cordon == (() if goes and not queue.deleting else ("c1",))


def test_a_pod_that_was_called_back_and_is_not_ready_yet_goes_before_one_that_claims() -> None:
    claims, returns = pod(1, age_seconds=9.0), pod(2, ready=False, warm=True, age_seconds=99.0)
    observed = Observed(0.0, StoreView((depth(),), (client(1), client(2, running=1))), (deployment(2),), (claims, returns))
    done = plan(observed, job_queue(minReplicas=1, scaleIn={"windowSeconds": 0}), Memory())
    assert (done.decision.desired_replicas, done.cordon) == (1, ("c2",))


@pytest.mark.parametrize("deleting", [False, True])
def test_a_pod_that_is_marked_to_go_and_accepts_is_cordoned(*, deleting: bool) -> None:
    """Its mark could not be taken off when it was called back. It counts as one that drains, and would never go."""
    marked = pod(2, deletion_cost=LOWEST_COST)
    observed = Observed(0.0, StoreView((depth(),), (client(1), client(2))), (deployment(2),), (pod(1), marked))
    done = plan(observed, replace(QUEUE, deleting=deleting), Memory())
    assert (done.cordon, done.scales) == (("c1", "c2") if deleting else ("c2",), ())


def test_a_job_starts_the_idle_time_anew() -> None:
    busy = Observed(10.0, StoreView((depth(),), (client(1, running=1),)), (deployment(1),), (pod(1),))
    after = plan(busy, QUEUE, replace(Memory(), idle_since=(("uid1", 0.0),)))
    assert after.memory.idle_since == ()


def test_clients_of_pods_that_are_gone_are_declared_dead() -> None:
    here = Observed(0.0, StoreView((depth(),), (client(1, running=2),)), (deployment(1),), (pod(1),))
    first = plan(here, QUEUE, Memory())
    gone = replace(here, now=1.0, pods=())
    second = plan(gone, QUEUE, first.memory)
    assert (second.bury, [uid for uid, _ in second.memory.lost]) == ((), ["uid1"])
    silent = replace(gone, now=12.0, store=StoreView((depth(),), (client(1, running=2, silent_seconds=13.0),)))
    third = plan(silent, QUEUE, second.memory)
    assert third.bury == ("c1",)
    rescued = replace(gone, now=20.0, store=StoreView((depth(),)))
    assert plan(rescued, QUEUE, third.memory).memory.lost == ()


def test_a_client_that_still_beats_is_left_alone() -> None:
    memory = replace(Memory(), lost=(("uid1", 0.0),))
    observed = Observed(99.0, StoreView((depth(),), (client(1, running=2, silent_seconds=11.0),)), (deployment(0),))
    done = plan(observed, QUEUE, memory)
    assert (done.bury, len(done.memory.lost)) == ((), 1)


def test_unknown_forgets_no_lost_pod() -> None:
    memory = replace(Memory(), lost=(("uid1", 0.0),), homes=("uid2", "uid3"))
    blind = Observed(99.0, Unknown("X", "x."), (deployment(1),), (pod(3),))
    after = plan(blind, QUEUE, memory).memory
    assert after.lost == (("uid1", 0.0), ("uid2", 99.0))
    silent = replace(blind, now=199.0, store=StoreView((depth(),), (client(2, running=1, silent_seconds=100.0), client(3))))
    assert plan(silent, QUEUE, after).bury == ("c2",)


def told(observed: Observed, memory: Memory) -> list[str]:
    return [event.message for event in plan(observed, QUEUE, memory).events if event.reason == "WrongVictim"]


def test_a_wrong_victim_is_told_once() -> None:
    spared = pod(1, ready=False, deletion_cost=LOWEST_COST)
    store = StoreView((depth(),), (client(1, wanted_state="cordoned", state="drained"), client(2, running=1)))
    memory = replace(Memory(), removing=("uid1",), homes=("uid1", "uid2"))
    observed = Observed(5.0, store, (deployment(1),), (spared, pod(2, deleting=True)))
    (message,) = told(observed, memory)
    assert message == (
        "Pod p2 is being deleted with 1 job running, by a choice that is not the operator's: p1 was drained to go, and "
        "jobs that do not end in their grace period are given back and begin anew."
    )
    assert told(observed, plan(observed, QUEUE, memory).memory) == []
    right = Observed(5.0, store, (deployment(1),), (replace(spared, deleting=True), pod(2)))
    assert told(right, memory) == []


@pytest.mark.parametrize(
    ("homes", "doomed", "removing", "events"),
    [
        (("uid1", "uid2"), (), (), ["Pod p2 is being deleted with 1 job running"]),
        # It was told before; it was chosen; it is seen for the first time after a restart.
        (("uid1", "uid2"), ("uid2",), (), []),
        (("uid1", "uid2"), (), ("uid2",), []),
        ((), (), (), []),
    ],
)
def test_a_wrong_victim_is_told_when_its_jobs_can_be_read_again(
    homes: tuple[str, ...], doomed: tuple[str, ...], removing: tuple[str, ...], events: list[str]
) -> None:
    store, found = StoreView((depth(),), (client(1), client(2, running=1))), []
    memory = replace(Memory(), homes=homes, doomed=doomed, removing=removing)
    for seen in (Unknown("Timeout", "late."), Unknown("Timeout", "late."), store, store):
        observed = Observed(5.0, seen, (deployment(1),), (pod(1), pod(2, deleting=True)))
        done = plan(observed, QUEUE, memory)
        memory = done.memory
        found += [event.message.partition(",")[0] for event in done.events if event.reason == "WrongVictim"]
    assert found == events


@pytest.mark.parametrize(
    ("running", "homes", "removing", "pods"),
    [
        ((4, 4), ("uid1", "uid2", "uid3"), (), "Pod p1 and 1 other are being deleted with 8 jobs running"),
        ((4, 0), ("uid1", "uid2", "uid3"), (), "Pod p1 is being deleted with 4 jobs running"),
        # Nothing ran in them; chosen, after the longest time that a drain may take; seen for the first time after a restart.
        ((0, 0), ("uid1", "uid2", "uid3"), (), None),
        ((4, 4), ("uid1", "uid2", "uid3"), ("uid1", "uid2"), None),
        ((4, 4), (), (), None),
    ],
)
@pytest.mark.parametrize("conflict", [None, "an autoscaler."])
def test_busy_pods_that_nobody_chose_are_told(
    running: tuple[int, int], homes: tuple[str, ...], removing: tuple[str, ...], pods: str | None, conflict: str | None
) -> None:
    """After ``kubectl scale``, say, or a node drain."""
    clients = tuple(client(n + 1, running=jobs) for n, jobs in enumerate((*running, 4)))
    fleet = (pod(1, deleting=True), pod(2, deleting=True), pod(3))
    observed = Observed(5.0, StoreView((depth(running=12),), clients), (deployment(1),), fleet, conflict)
    memory = replace(Memory(), homes=homes, removing=removing)
    found = told(observed, memory)
    assert len(found) == (pods is not None)
    assert not found or found[0].startswith(pods or "")


LONG = QueueMemory("default", jobs=50, job_seconds=60.0, job_seconds_squared=3600.0)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("seconds", "desired", "sentence"),
    [
        # A slot for each long job: 4 wait and 24 run.
        (60.0, 6, "6 pods: 4 jobs waiting and 24 running; 6 pods wanted so that each long job has a slot."),
        # Short ones end soon, and the fleet is as large as it was wanted a moment ago.
        (1.0, 5, "5 pods: 4 jobs waiting and 24 running; 1 pod wanted"),
    ],
)
def test_a_fleet_of_which_pods_are_taken_stays_as_large(seconds: float, desired: int, sentence: str, *, gone: bool) -> None:
    """Their jobs were not counted: right after ``kubectl scale`` the operator aimed at two pods where five had been at work."""
    queue = job_queue(scaleIn={"windowSeconds": 60})
    queue = replace(queue, spec=replace(queue.spec, worker=replace(queue.spec.worker, slots=5)))
    version = build(queue).version
    learnt = replace(LONG, job_seconds=seconds, job_seconds_squared=seconds**2)
    busy = [4, 5, 5, 5, 5]
    clients = tuple(client(n, running=jobs) for n, jobs in enumerate(busy))
    pods = tuple(pod(n, version) for n in range(5))
    before = Memory(scaling=ScalingMemory((learnt,), began=(0.0, 5)), desired=5)
    store = StoreView((depth(waiting=4, running=24, running_seconds=24.0),), clients)
    memory = plan(Observed(1.0, store, (deployment(5, version),), pods), queue, before).memory
    taken = tuple(replace(one, deleting=one.name != "p0") for one in pods)
    if gone:
        memory = plan(Observed(1.5, store, (deployment(5, version),), taken), queue, memory).memory
        taken = taken[:1]
        memory = plan(Observed(2.0, store, (deployment(1, version),), taken), queue, memory).memory
    done = plan(Observed(3.0, store, (deployment(1, version),), taken), queue, memory)
    assert done.decision.desired_replicas == desired
    assert done.decision.sentence.startswith(sentence)
    assert [scale.replicas for scale in done.scales] == [desired]


def test_unknown_adds_no_pods_in_a_rollout() -> None:
    """Replicas of all versions are held; the new one does not grow by what the old one has."""
    observed = Observed(0.0, Unknown("X", "x."), (deployment(1), deployment(5, "0ld")), (pod(1),))
    assert plan(observed, QUEUE, Memory()).scales == ()


@pytest.mark.parametrize(
    ("returning", "starts", "seconds"),
    [
        ({"warm": True, "unready_seconds": 900.0}, (), 30.0),
        # Its container was restarted, a moment ago or long ago.
        ({"unready_seconds": 3.0}, (), 30.0),
        ({"unready_seconds": 100.0}, (), 100.0),
        ({"age_seconds": 110.0}, ("uid1",), 110.0),
        # Late ones say no more than that.
        ({}, ("uid1",), 120.0),
    ],
)
def test_a_pod_that_was_ready_before_is_not_taken_for_a_start(
    returning: dict[str, Any], starts: tuple[str, ...], seconds: float
) -> None:
    store = StoreView((depth(),), (client(1),))
    old = pod(1, **{"ready": False, "age_seconds": 500.0, **returning})
    done = plan(Observed(0.0, store, (deployment(1),), (old,)), QUEUE, Memory())
    assert done.memory.scaling.starting == starts
    assert done.decision.pod_start_seconds == seconds


def test_a_start_is_learnt_although_it_was_seen_between_its_two_ends() -> None:
    """Kubernetes says first that the containers have started, and that the pod is Ready a tenth of a second later."""
    memory = Memory()
    for seen in ({"started": False}, {"warm": True}, {"warm": True, "ready": True, "ready_after_seconds": 2.0}):
        state = {"age_seconds": 2.0, "ready": False, **seen}
        store = StoreView((depth(),), (client(1),) if state["ready"] else ())
        done = plan(Observed(0.0, store, (deployment(1),), (pod(1, **state),)), QUEUE, memory)
        memory = done.memory
    assert done.decision.pod_start_seconds == 2.0


@pytest.mark.parametrize(
    ("made", "reported", "cordoned"),
    [
        # Three of five are too many: they start, two of them have not been made yet, one has reported, or all have.
        (5, 0, []),
        (3, 0, []),
        (5, 1, ["c3"]),
        (5, 3, ["c3", "c4", "c5"]),
    ],
)
def test_no_pod_that_works_goes_in_the_place_of_one_that_starts(made: int, reported: int, cordoned: list[str]) -> None:
    """Else nobody would claim until those that start are Ready, and busy pods would go before idle ones."""
    works = [pod(n, age_seconds=99.0) for n in (1, 2)]
    starts = [pod(n, ready=False, age_seconds=9.0 - n) for n in (3, 4, 5)][: made - 2]
    clients = (client(1), client(2, running=1), *(client(n) for n in range(3, 3 + reported)))
    observed = Observed(0.0, StoreView((depth(running=1),), clients), (deployment(5),), (*works, *starts))
    done = plan(observed, job_queue(minReplicas=2, scaleIn={"windowSeconds": 0}), Memory())
    assert (done.decision.desired_replicas, sorted(done.cordon), done.scales) == (2, cordoned, ())


@pytest.mark.parametrize(
    ("new", "waits"),
    [
        (pod(4, ready=False, age_seconds=120.0), True),
        (pod(4, ready=False, age_seconds=121.0), False),
        (pod(4, ready=False, age_seconds=121.0, scheduled=False), False),
        # Its container was restarted, or it was called back, a moment ago.
        (pod(4, ready=False, age_seconds=999.0, unready_seconds=3.0), True),
        (None, True),
    ],
)
def test_a_rollout_holds_a_fleet_while_it_gets_on(new: PodView | None, waits: bool) -> None:
    """A pod that never becomes Ready, for want of room perhaps that the old ones take, must not keep them for ever."""
    live, old = (deployment(2), [pod(3), *([new] if new else [])]), (deployment(1, "0ld"), [pod(1, "0ld")])
    clients = (client(1), client(3))
    observed = Observed(0.0, StoreView((depth(),), clients), (live[0], old[0]), (*live[1], *old[1]))
    done = plan(observed, job_queue(scaleIn={"windowSeconds": 0}), Memory(desired=2))
    assert ("during a rollout" in done.decision.sentence) is waits
    assert (sorted(done.cordon), done.decision.desired_replicas) == (([], 2) if waits else (["c1", "c3"], 0))
    refused = replace(observed, pods=(pod(3), pod(1, "0ld")), deployments=(deployment(2, failure="exceeded quota"), old[0]))
    assert plan(refused, job_queue(scaleIn={"windowSeconds": 0}), Memory(desired=2)).decision.desired_replicas == 0
