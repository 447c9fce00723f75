"""Roll-outs: the trial of a new version, who serves meanwhile, how the old ones go, and rolling back."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill_operator.model.observed import DeploymentView, Observed, PodView, ServerView, StoreView, Unknown, Verdict
from rivermill_operator.model.parse import parse_job_queue
from rivermill_operator.model.spec import JobQueue, JobQueueSpec, Mode, RolloutSpec, RolloutStrategy
from rivermill_operator.plan import Memory, plan
from rivermill_operator.plan.manifests import build
from rivermill_operator.plan.plan import MarkLive
from rivermill_operator.plan.rollout import Rollout, fails_more, roll
from rivermill_operator.plan.versions import Version, versions
from tests.unit.plan.build import VERSION, body, client, deployment, depth, job_queue, pod

NEW, OLD = "new", "0ld"


def version(name: str, replicas: int, *, serving: int = 0, draining: int = 0, **changes: Any) -> Version:
    """A version of which ``serving`` pods claim, ``draining`` drain, and the rest start."""
    numbers = changes.pop("numbers", {})
    pods, clients = [], []
    for n in range(replicas):
        number = hash(name) % 1000 * 100 + n
        drains = serving <= n < serving + draining
        pods.append(pod(number, name, ready=n < serving))
        if n < serving + draining:
            clients.append(client(number, wanted_state="cordoned" if drains else "accepting", **numbers))
    observed = Observed(0, StoreView((depth(),), tuple(clients)), (deployment(replicas, name, **changes),), tuple(pods))
    return versions(observed)[0]


def rolled(
    live: Version,
    *old: Version,
    desired: int = 4,
    now: float = 0.0,
    since: float | None = None,
    limit: int | None = None,
    free: float = math.inf,
    **spec: Any,
) -> Rollout:
    ready_since = None if since is None else (NEW, since)
    return roll(RolloutSpec(**spec), live, old, desired, limit=limit, free=free, now=now, ready_since=ready_since)


def sizes(rollout: Rollout) -> dict[str, int]:
    return {target.version.name: target.accepting for target in rollout.targets}


PENDING = {"verdict": Verdict.PENDING}
FAILS = {"ended": 3, "failed": 3}


def failing(*, ready: bool) -> Version:
    """A version on trial whose one pod has reported that all its attempts fail."""
    store = StoreView((depth(),), (client(1, **FAILS),))
    return versions(Observed(0, store, (deployment(1, NEW, **PENDING),), (pod(1, NEW, ready=ready),)))[0]


@pytest.mark.parametrize(
    ("live", "now", "since", "verdict", "wanted"),
    [
        # one pod is tried while the accepted version serves on
        (version(NEW, 0, **PENDING), 0, None, Verdict.PENDING, {NEW: 1, OLD: 4}),
        (version(NEW, 1, **PENDING), 99, None, Verdict.PENDING, {NEW: 1, OLD: 4}),
        (version(NEW, 1, serving=1, **PENDING), 99, None, Verdict.PENDING, {NEW: 1, OLD: 4}),
        (version(NEW, 1, serving=1, **PENDING), 29, 0, Verdict.PENDING, {NEW: 1, OLD: 4}),
        # it stayed Ready for long enough, or ended enough attempts
        (version(NEW, 1, serving=1, **PENDING), 30, 0, Verdict.ACCEPTED, {NEW: 4, OLD: 3}),
        (version(NEW, 1, serving=1, numbers={"ended": 20}, **PENDING), 0, None, Verdict.ACCEPTED, {NEW: 4, OLD: 3}),
        # it fails
        (version(NEW, 1, serving=1, numbers=FAILS, **PENDING), 30, 0, Verdict.REJECTED, {NEW: 0, OLD: 4}),
        (version(NEW, 0, verdict=Verdict.REJECTED), 30, None, Verdict.REJECTED, {NEW: 0, OLD: 4}),
        # also before its pod is Ready, and when the pod has been cordoned for that and the verdict could not be written
        (failing(ready=False), 0, None, Verdict.REJECTED, {NEW: 0, OLD: 4}),
        (version(NEW, 1, draining=1, numbers=FAILS, **PENDING), 30, None, Verdict.REJECTED, {NEW: 0, OLD: 4}),
        # roll back: an accepted template is tried by nobody
        (version(NEW, 0), 0, None, Verdict.ACCEPTED, {NEW: 4, OLD: 4}),
        (version(NEW, 4, serving=4), 0, None, Verdict.ACCEPTED, {NEW: 4, OLD: 0}),
    ],
)
def test_trial(live: Version, now: float, since: float | None, verdict: Verdict, wanted: dict[str, int]) -> None:
    old = version(OLD, 4, serving=4, numbers={"ended": 500, "failed": 5})
    found = rolled(live, old, now=now, since=since)
    assert (found.verdict, sizes(found)) == (verdict, wanted)


def test_the_first_version_is_not_tried() -> None:
    found = rolled(version(NEW, 0, **PENDING))
    assert (found.verdict, sizes(found)) == (Verdict.PENDING, {NEW: 4})
    assert rolled(version(NEW, 4, serving=1, **PENDING)).verdict is Verdict.ACCEPTED


def test_a_version_that_never_worked_is_replaced_at_once() -> None:
    broken = version(OLD, 4, **PENDING)
    assert sizes(rolled(version(NEW, 0, **PENDING), broken)) == {NEW: 4, OLD: 4}


def test_the_trial_begins_anew_when_its_pod_is_not_ready() -> None:
    old = version(OLD, 4, serving=4)
    assert rolled(version(NEW, 1, **PENDING), old, now=50, since=0).ready_since is None


def test_a_trial_that_was_passed_stays_so_where_the_verdict_could_not_be_written() -> None:
    queue, old = job_queue(minReplicas=2), (deployment(2, OLD), [pod(1, OLD), pod(2, OLD)])
    memory = plan(fleet((deployment(1, **PENDING), [pod(3)]), old), queue, Memory()).memory
    for now, pods in ((30.0, [pod(3)]), (32.0, [pod(3), pod(4)])):
        done = plan(fleet((deployment(len(pods), **PENDING), pods), old, now=now), queue, memory)
        memory = done.memory
        assert [mark.verdict for mark in done.verdicts] == [Verdict.ACCEPTED]
    assert sorted(done.cordon) == ["c1", "c2"]


def test_old_pods_serve_until_as_many_new_ones_do() -> None:
    older = version("older", 2, serving=2)
    found = sizes(rolled(version(NEW, 4, serving=1), version(OLD, 2, serving=2), older))
    assert found == {NEW: 4, OLD: 2, "older": 1}


@pytest.mark.parametrize("old", [{"serving": 1}, {"serving": 1, "draining": 7}])
def test_pods_that_start_or_drain_stand_in_for_no_older_ones(old: dict[str, int]) -> None:
    """A roll back in the midst of another rollout: the oldest version has nearly all pods that claim."""
    found = rolled(version(NEW, 0), version(OLD, 8, **old), version("older", 7, serving=7), desired=8)
    assert sizes(found) == {NEW: 8, OLD: 8, "older": 7}


def test_rolling_update_adds_no_more_than_its_surge() -> None:
    rolling = {"strategy": RolloutStrategy.ROLLING_UPDATE, "max_surge": "25%"}
    start = rolled(version(NEW, 0), version(OLD, 8, serving=8), desired=8, **rolling)
    assert sizes(start) == {NEW: 2, OLD: 8}
    # draining pods still hold their place
    later = rolled(version(NEW, 2, serving=2), version(OLD, 8, serving=6, draining=2), desired=8, **rolling)
    assert sizes(later) == {NEW: 2, OLD: 6}
    freed = rolled(version(NEW, 2, serving=2), version(OLD, 6, serving=6), desired=8, **rolling)
    assert sizes(freed) == {NEW: 4, OLD: 6}


def test_connections_bound_all_versions_together() -> None:
    """With no connection to spare, a part of the old pods gives way first."""
    stuck = rolled(version(NEW, 0), version(OLD, 4, serving=4), limit=4)
    assert sizes(stuck) == {NEW: 0, OLD: 3}
    draining = rolled(version(NEW, 0), version(OLD, 4, serving=3, draining=1), limit=4)
    assert sizes(draining) == {NEW: 0, OLD: 3}
    room = rolled(version(NEW, 0), version(OLD, 3, serving=3), limit=4)
    assert sizes(room) == {NEW: 1, OLD: 3}


@pytest.mark.parametrize(
    ("new", "old", "free", "wanted"),
    [
        # All beside all, and as many as there are connections for: a quarter of the old pods gives way to the rest.
        ({}, {"serving": 4}, 4, {NEW: 4, OLD: 4}),
        ({}, {"serving": 4}, 3, {NEW: 3, OLD: 3}),
        ({}, {"serving": 4}, 0, {NEW: 0, OLD: 3}),
        ({"serving": 1}, {"serving": 3, "draining": 1}, -2, {NEW: 1, OLD: 2}),
        ({"serving": 3}, {"serving": 1}, 1, {NEW: 4, OLD: 1}),
        # The pods that are there keep theirs, and those that drain can be called back.
        ({"serving": 4}, {}, -9, {NEW: 4, OLD: 0}),
        ({"serving": 2, "draining": 2}, {}, 0, {NEW: 4, OLD: 0}),
        ({"serving": 1, "draining": 2}, {}, 0, {NEW: 3, OLD: 0}),
    ],
)
def test_new_pods_have_connections_on_the_server(
    new: dict[str, int], old: dict[str, int], free: float, wanted: dict[str, int]
) -> None:
    found = rolled(version(NEW, sum(new.values()), **new), version(OLD, sum(old.values()), **old), free=free)
    assert sizes(found) == wanted
    assert (found.pending is None) is (wanted[NEW] == 4)


@pytest.mark.parametrize(
    ("new", "old", "wanted"),
    [
        ({}, {"serving": 1}, {NEW: 1, OLD: 1}),
        ({"serving": 1}, {"serving": 1}, {NEW: 1, OLD: 0}),
        ({}, {"serving": 1, "draining": 1}, {NEW: 0, OLD: 1}),
    ],
)
def test_a_fleet_of_one_pod_is_rolled_back_without_a_gap(
    new: dict[str, int], old: dict[str, int], wanted: dict[str, int]
) -> None:
    found = rolled(version(NEW, sum(new.values()), **new), version(OLD, sum(old.values()), **old), desired=1, limit=1)
    assert sizes(found) == wanted


def test_what_drains_is_called_back_where_connections_allow_no_more() -> None:
    found = rolled(version(NEW, 4, serving=1, draining=3), limit=4)
    assert sizes(found) == {NEW: 4}


@pytest.mark.parametrize(
    ("new", "old", "limit", "wanted"),
    [
        # One of the old pods gives way, and the trial begins when it has gone.
        (0, {"serving": 4}, 4, {NEW: 0, OLD: 3}),
        (0, {"serving": 3, "draining": 1}, 4, {NEW: 0, OLD: 3}),
        (0, {"serving": 3}, 4, {NEW: 1, OLD: 3}),
        (1, {"serving": 3}, 4, {NEW: 1, OLD: 3}),
        # The place that is left is for the trial.
        (0, {"serving": 4}, 5, {NEW: 1, OLD: 4}),
        (0, {"serving": 2}, 4, {NEW: 1, OLD: 3}),
        # One pod alone serves on, and no third is beside it.
        (0, {"serving": 1}, 1, {NEW: 1, OLD: 1}),
        (0, {}, 1, {NEW: 1, OLD: 1}),
        (0, {"serving": 1, "draining": 1}, 1, {NEW: 0, OLD: 1}),
    ],
)
def test_a_trial_keeps_within_the_connections(new: int, old: dict[str, int], limit: int, wanted: dict[str, int]) -> None:
    found = rolled(version(NEW, new, **PENDING), version(OLD, sum(old.values()), **old), desired=min(4, limit), limit=limit)
    assert sizes(found) == wanted
    assert ("when a pod has drained" in (found.pending or "")) is (wanted[NEW] == 0)


@pytest.mark.parametrize(
    ("new", "old", "worse"),
    [
        ((2, 2), (1000, 0), False),  # too few to say
        ((3, 3), (1000, 0), True),
        ((20, 4), (1000, 100), False),
        ((20, 10), (1000, 100), True),
        ((20, 20), (20, 20), False),
        ((5, 5), (0, 0), False),
        ((20, 20), (0, 0), True),
    ],
)
def test_failing_more(new: tuple[int, int], old: tuple[int, int], worse: bool) -> None:
    live = version(NEW, 1, serving=1, numbers={"ended": new[0], "failed": new[1]})
    other = version(OLD, 1, serving=1, numbers={"ended": old[0], "failed": old[1]})
    assert fails_more(live, [other]) is worse


def fleet(*parts: tuple[DeploymentView, list[PodView]], waiting: int = 20, now: float = 0.0, **changes: Any) -> Observed:
    pods = [one for _, group in parts for one in group]
    clients = tuple(client(int(one.name[1:]), **changes) for one in pods)
    return Observed(now, StoreView((depth(waiting=waiting),), clients), tuple(d for d, _ in parts), tuple(pods))


def test_old_pods_are_cordoned_when_new_ones_are_ready() -> None:
    old = (deployment(2, OLD), [pod(1, OLD), pod(2, OLD)])
    starting = (deployment(2), [pod(3, ready=False), pod(4, ready=False)])
    first = plan(fleet(old, starting), job_queue(), Memory())
    assert (first.cordon, first.scales, first.decision.desired_replicas) == ((), (), 2)
    second = plan(fleet(old, (deployment(2), [pod(3), pod(4)])), job_queue(), first.memory)
    assert (sorted(second.cordon), second.decision.desired_replicas) == (["c1", "c2"], 2)


@pytest.mark.parametrize(
    ("strategy", "limit", "least", "most"),
    [
        (RolloutStrategy.RAINBOW, None, 4, 8),
        (RolloutStrategy.ROLLING_UPDATE, None, 4, 5),
        # The server has connections for so many pods: one of the old ones gives way beforehand.
        (RolloutStrategy.RAINBOW, 24, 4, 8),
        (RolloutStrategy.RAINBOW, 18, 3, 6),
        (RolloutStrategy.RAINBOW, 12, 3, 4),
        (RolloutStrategy.ROLLING_UPDATE, 12, 3, 4),
    ],
)
def test_a_rollout_does_not_inflate_the_fleet(strategy: RolloutStrategy, limit: int | None, least: int, most: int) -> None:
    """Old and new pods side by side are one fleet; step by step the rollout ends at the size that it began with."""
    queue = job_queue(minReplicas=4)
    queue = replace(queue, spec=replace(queue.spec, rollout=RolloutSpec(strategy=strategy)))
    new, old, cordoned, memory = 0, [1, 2, 3, 4], set[int](), Memory()
    for step in range(60):
        pods = [pod(100 + n) for n in range(new)] + [pod(n, OLD, ready=n not in cordoned) for n in old]
        clients = [client(100 + n) for n in range(new)]
        clients += [client(n, running=1, wanted_state="cordoned" if n in cordoned else "accepting") for n in old]
        deployments = (deployment(new, live_seconds=9.0), deployment(len(old), OLD))
        server = ServerView(0, limit, 3 * len(pods))
        store = StoreView((depth(running=len(old)),), tuple(clients), server)
        done = plan(Observed(2.0 * step, store, deployments, tuple(pods)), queue, memory)
        memory, serving = done.memory, new + len(set(old) - cordoned)
        assert (done.decision.desired_replicas, serving >= least) == (4, True)
        cordoned |= {int(name[1:]) for name in done.cordon}
        cordoned -= {int(name[1:]) for name in done.uncordon}
        new = next((scale.replicas for scale in done.scales if scale.deployment == f"q-{VERSION}"), new)
        assert new + len(old) <= most
        if step % 3 == 2 and cordoned:  # the jobs of one end, and it goes
            old.remove(cordoned.pop())
    assert (new, old) == (4, [])


@pytest.mark.parametrize(
    ("others", "serves"),
    [
        # Nobody returned to an older one, or no operator has marked that.
        ({OLD: (300, Verdict.ACCEPTED), "older": (900, Verdict.ACCEPTED)}, OLD),
        # v1, v2, back to v1.
        ({OLD: (300, Verdict.ACCEPTED), "older": (5, Verdict.ACCEPTED)}, "older"),
        # v1, v2 on trial or refused, and from there to the next.
        ({OLD: (5, Verdict.PENDING), "older": (300, Verdict.ACCEPTED)}, "older"),
        ({OLD: (5, Verdict.REJECTED), "older": (300, Verdict.ACCEPTED)}, "older"),
        # v1, v2, back to v1 while v2 was on trial.
        ({OLD: (300, Verdict.PENDING), "older": (5, Verdict.ACCEPTED)}, "older"),
        # What was returned to has been deleted by hand.
        ({OLD: (300, Verdict.ACCEPTED)}, OLD),
    ],
)
@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.REJECTED])
def test_the_version_that_was_live_last_serves_beside_a_trial(
    others: dict[str, tuple[float, Verdict]], serves: str, blind: bool, verdict: Verdict
) -> None:
    old = [deployment(0, name, live_seconds=seconds, verdict=v) for name, (seconds, v) in others.items()]
    observed = fleet((deployment(0, live_seconds=1.0, verdict=verdict), []), *((one, []) for one in old), waiting=50)
    if blind:
        observed = replace(observed, store=Unknown("X", "x.", 9.0))
    done = plan(observed, job_queue(fallback={"afterSeconds": 5, "replicas": 3}), Memory())
    grown = {scale.deployment for scale in done.scales if scale.grows}
    assert grown - {f"q-{VERSION}"} == {f"q-{serves}"}


@pytest.mark.parametrize(
    ("seconds", "others", "ahead"),
    [
        (10.0, [], None),
        (10.0, [20.0, 900.0], None),
        (300.0, [20.0, 900.0], 0.0),
        # Made within the same second, or by clocks that are ahead of this one.
        (20.0, [20.0], 0.0),
        (300.0, [0.5], 0.5),
        (300.0, [-40.0, 7.0], 41.0),
    ],
)
def test_a_version_is_marked_when_it_was_returned_to(seconds: float, others: list[float], ahead: float | None) -> None:
    """So that it is the last live one from then on, whatever the clocks say."""
    utc = datetime(2026, 1, 1, tzinfo=UTC)
    old = [deployment(0, f"v{n}", live_seconds=age) for n, age in enumerate(others)]
    observed = replace(fleet((deployment(0, live_seconds=seconds), []), *((one, []) for one in old)), utc=utc)
    for store in (observed.store, Unknown("X", "x.")):
        mark = plan(replace(observed, store=store), job_queue(), Memory()).live
        assert mark == (None if ahead is None else MarkLive(f"q-{VERSION}", utc + timedelta(seconds=ahead)))
    paused = job_queue()
    paused = replace(paused, spec=replace(paused.spec, mode=Mode.OBSERVE))
    assert plan(observed, paused, Memory()).live is None


def test_back_and_forth_the_last_live_version_serves_the_next_trial() -> None:
    """v1, v2, back to v1, v3: the marks that each look asks for are what the next one goes by."""
    utc, live_at, serves = datetime(2026, 1, 1, tzinfo=UTC), dict[str, float](), []
    for now, image in ((0, "v1"), (10, "v2"), (20, "v1"), (20.2, "v1"), (30, "v3"), (40, "v2"), (50, "v4")):
        value = body(minReplicas=1)
        value["spec"]["worker"]["image"] = image
        queue = parse_job_queue(value)
        live_at.setdefault(image, now)
        names = {image: build(replace(queue, spec=_image(queue, image))).version for image in live_at}
        accepted = {name: Verdict.ACCEPTED if name in ("v1", "v2") else Verdict.PENDING for name in live_at}
        views = [deployment(0, names[n], live_seconds=now - at, verdict=accepted[n]) for n, at in live_at.items()]
        seen = replace(fleet(*((view, []) for view in views), now=now), utc=utc + timedelta(seconds=now))
        done = plan(seen, queue, Memory())
        if done.live is not None:
            live_at[image] = (done.live.since - utc).total_seconds()
        grown = {scale.deployment for scale in done.scales}
        serves.append(sorted(name for name, version in names.items() if f"q-{version}" in grown))
    assert serves == [["v1"], ["v2"], ["v1"], ["v1"], ["v1", "v3"], ["v2"], ["v2", "v4"]]


def _image(queue: JobQueue, image: str) -> JobQueueSpec:
    return replace(queue.spec, worker=replace(queue.spec.worker, image=image))


def test_verdicts_are_written_once_with_an_event() -> None:
    parts = (deployment(1, **PENDING), [pod(3)]), (deployment(2, OLD), [pod(1, OLD), pod(2, OLD)])
    done = plan(fleet(*parts, ended=20), job_queue(), Memory())
    assert [(v.verdict, v.trial, v.resource_version) for v in done.verdicts] == [(Verdict.ACCEPTED, None, "7")]
    # Told when it is written, which may take more than one look.
    assert [v.event.reason for v in done.verdicts if v.event] == ["VersionAccepted"]
    assert "VersionAccepted" not in {event.reason for event in done.events}
    accepted = (deployment(1), parts[0][1]), parts[1]
    assert not plan(fleet(*accepted, ended=20), job_queue(), done.memory).verdicts


@pytest.mark.parametrize(
    ("verdict", "grown"), [(Verdict.REJECTED, OLD), (Verdict.PENDING, OLD), (Verdict.ACCEPTED, VERSION)], ids=str
)
def test_a_fallback_is_of_a_version_that_works(verdict: Verdict, grown: str) -> None:
    versions = (deployment(0, verdict=verdict), deployment(1, OLD))
    observed = Observed(0.0, Unknown("X", "x.", 9.0), versions, (pod(1, OLD),))
    done = plan(observed, job_queue(fallback={"afterSeconds": 5, "replicas": 3}), Memory())
    assert [(scale.deployment, scale.replicas - (grown == OLD)) for scale in done.scales] == [(f"q-{grown}", 2)]


@pytest.mark.parametrize(
    ("trial", "told"),
    [((9, 12), "failed 9 of 12 attempts, more than the versions"), (None, "failed more attempts than the versions")],
)
def test_a_rejected_version_is_a_condition_with_the_way_out(trial: tuple[int, int] | None, told: str) -> None:
    """Its pods have gone: the numbers are those of its trial, if an operator that wrote them has judged it."""
    parts = (deployment(0, verdict=Verdict.REJECTED, trial=trial), []), (deployment(1, OLD), [pod(1, OLD)])
    found = {c.type: c for c in plan(fleet(*parts), job_queue(), Memory()).conditions}
    assert (found["WorkersAvailable"].status, found["WorkersAvailable"].reason) == ("False", "VersionRejected")
    assert told in found["Ready"].message
    assert "spec.worker" in found["Ready"].message
    assert "`rivermill job list --state retryable` lists such jobs, and `rivermill job get ID`" in found["Ready"].message


def test_a_rejection_is_told_once_with_the_numbers_of_its_trial() -> None:
    """Also where the verdict could not be written at once, and when its pods have gone."""
    old, memory, told = (deployment(2, OLD), [pod(1, OLD), pod(2, OLD)]), Memory(), list[str]()
    judged = (deployment(1, **PENDING), [pod(3)])
    marked = (deployment(1, verdict=Verdict.REJECTED, trial=(3, 4)), [pod(3)])
    gone = (deployment(0, verdict=Verdict.REJECTED, trial=(3, 4)), [])
    for live in (judged, judged, marked, gone, gone):
        observed = fleet(live, old)
        assert isinstance(observed.store, StoreView)
        clients = (client(1, ended=500), client(2, ended=500), *([client(3, ended=4, failed=3)] if live[1] else []))
        done = plan(replace(observed, store=replace(observed.store, clients=clients)), job_queue(minReplicas=2), memory)
        memory = done.memory
        assert [(v.verdict, v.trial, v.event) for v in done.verdicts] == [(Verdict.REJECTED, (3, 4), None)] * (live is judged)
        told += [event.message for event in done.events if event.reason == "VersionRejected"]
    assert len(told) == 1
    assert "3 of 4 attempts" in told[0]


def test_draining_pods_do_not_count_as_replicas_after_a_restart() -> None:
    """Else a restart in the midst of a rollout would hold the fleet at twice its size."""
    old = (deployment(3, OLD), [pod(n, OLD, ready=False) for n in (1, 2, 3)])
    observed = fleet(old, (deployment(1), [pod(4)]), waiting=1)
    assert isinstance(observed.store, StoreView)
    clients = tuple(
        replace(c, wanted_state="cordoned", state="cordoned", running=1) if c.client_id != "c4" else c
        for c in observed.store.clients
    )
    observed = replace(observed, store=replace(observed.store, clients=clients))
    assert plan(observed, job_queue(), Memory()).decision.desired_replicas == 1


def test_a_drain_ends_at_its_bound_and_not_before() -> None:
    queue = job_queue(scaleIn={"windowSeconds": 0})
    queue = replace(queue, spec=replace(queue.spec, rollout=RolloutSpec(max_drain_seconds=60)))
    busy = client(1, wanted_state="cordoned", state="cordoned", running=1)
    observed = Observed(0.0, StoreView((depth(),), (busy,)), (deployment(1),), (pod(1, ready=False),))
    first = plan(observed, queue, Memory())
    assert not first.deletion_costs
    assert not plan(replace(observed, now=59.0), queue, first.memory).deletion_costs
    assert plan(replace(observed, now=60.0), queue, first.memory).deletion_costs
    endless = replace(queue, spec=replace(queue.spec, rollout=RolloutSpec()))
    assert not plan(replace(observed, now=1e9), endless, first.memory).deletion_costs


def test_new_templates_start_protected_and_have_a_budget() -> None:
    made = plan(Observed(0, StoreView((depth(),))), job_queue(), Memory()).apply[0]
    annotations = made.deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"
    assert made.budget["metadata"]["name"] == f"q-{VERSION}"
    assert made.budget["spec"]["selector"] == made.deployment["spec"]["selector"]
