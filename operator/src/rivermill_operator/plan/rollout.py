"""How a new pod template takes over from the old ones, without a job interrupted and without a gap in claiming.

A template that was never seen to work is tried on one pod, while the last version that was accepted serves on at full size.
It is accepted when that pod stays Ready and does not fail more attempts than the others, and refused when it does. From then
on it is the one that grows; older pods are cordoned as its pods become Ready, and drain however long their jobs take.
The verdict is kept on the Deployment, so that a roll back to an accepted template waits for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rivermill_operator.model.observed import Verdict
from rivermill_operator.model.spec import RolloutSpec, RolloutStrategy
from rivermill_operator.plan.plan import MarkLive
from rivermill_operator.plan.versions import Version

#: Attempts after which a trial is over before its time.
TRIAL_ATTEMPTS = 20
#: A version fails more when its failures are this many standard deviations above what the others' rate explains.
_DEVIATIONS = 3.0
_LEAST_FAILURES = 3
#: Share of the fleet that gives way at once where connections allow no pod beyond it.
_GIVE_WAY = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """Accepting pods to aim for in one version; only ``grows`` makes new pods for it."""

    version: Version
    accepting: int
    grows: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """What each version should have.

    Attributes:
        targets: one a version.
        verdict: of the live version, as it is now.
        ready_since: template hash and time of the trial's first Ready pod, to be remembered.
        pending: what the rollout waits for.
    """

    targets: tuple[Target, ...]
    verdict: Verdict
    ready_since: tuple[str, float] | None = None
    pending: str | None = None


def roll(
    spec: RolloutSpec,
    live: Version,
    old: Sequence[Version],
    desired: int,
    *,
    limit: int | None,
    free: float = math.inf,
    now: float,
    ready_since: tuple[str, float] | None,
) -> Rollout:
    """Share ``desired`` accepting pods among the versions.

    Args:
        spec: strategy and patience.
        live: the version of the current template.
        old: the others, the last live one first.
        desired: accepting pods that the queues need.
        limit: the most pods of all versions together, draining ones included; None is no limit.
        free: pods that the database server has connections for besides all that are there; a trial's one is made all the same.
        now: seconds of a monotonic clock.
        ready_since: as the last call returned it.
    """
    previous = last_accepted(old)
    found = _judge(spec, live, previous, old, now, ready_since)
    limit = _limit(spec, desired, limit)
    if limit is not None and old:
        # A fleet of one pod cannot give way without a gap in claiming: that of another version is beside it.
        limit = max(limit, 2)
    room = math.inf if limit is None else limit - sum(v.deployment.replicas for v in (live, *old))
    if previous is None or found.verdict is Verdict.ACCEPTED:
        serving, targets, others, share = live, [], list(old), desired
    else:
        trial, share = (0, desired) if found.verdict is Verdict.REJECTED else _trial(live, desired, limit, room)
        if not trial and found.verdict is Verdict.PENDING and desired:
            found = replace(found, pending=f"version {live.name} is tried when a pod has drained: there is no room for both")
        room -= max(0, trial - live.accepting)
        serving, targets = previous, [Target(live, trial, grows=True)]
        others = [v for v in old if v is not previous]
    own = serving.accepting + len(serving.recallable)
    targets.append(Target(serving, min(share, own + int(max(0, min(room, free, desired)))), grows=True))
    spare = desired - serving.serving
    short = own + max(0, free) < share
    if short and found.pending is None:
        found = replace(found, pending="more pods are made when the server has connections for them")
    if (limit is not None and limit <= desired) or short:
        spare -= max(1, math.ceil(desired * _GIVE_WAY))
    for version in others:
        keep = max(0, min(spare, version.deployment.replicas))
        # Its pods that start or drain stand in for nobody yet.
        spare -= min(keep, version.serving)
        targets.append(Target(version, keep, grows=False))
    return replace(found, targets=tuple(targets))


def _trial(live: Version, desired: int, limit: int | None, room: float) -> tuple[int, int]:
    """Pods of the version on trial, and of the one that serves: without room for both, one of the latter gives way first."""
    trial = min(1, desired)
    if limit is None:
        return trial, desired
    return (trial if live.accepting or room >= 1 else 0), min(desired, limit - trial)


def last_accepted(old: Sequence[Version]) -> Version | None:
    """The version that serves where the live one does not; ``old`` has the last live one first."""
    return next((version for version in old if version.deployment.verdict is Verdict.ACCEPTED), None)


def mark_live(live: Version, old: Sequence[Version], utc: datetime) -> MarkLive | None:
    """What tells later that ``live`` was the last version before, where Deployments of other templates were made since.

    Else a roll back would be forgotten, and the next rollout would fall back on what was rolled back. None where its age or its
    mark tells that already.
    """
    latest = min((version.deployment.live_seconds for version in old), default=math.inf)
    if live.deployment.live_seconds < latest:
        return None
    # After all others, also those that a clock ahead of this one has marked.
    return MarkLive(live.deployment.name, utc - timedelta(seconds=min(0.0, latest - 1.0)))


def trusted(live: Version | None, old: Sequence[Version]) -> bool:
    """Whether the fleet moves to the live version: it was accepted, or there is none to serve in its place."""
    accepted = live is None or live.deployment.verdict is Verdict.ACCEPTED
    return accepted or last_accepted(old) is None


def serving(live: Version, old: Sequence[Version]) -> Version:
    """The version that gets more pods while nothing can be judged: where another works, none that was not accepted."""
    return live if trusted(live, old) else last_accepted(old) or live


def _limit(spec: RolloutSpec, desired: int, limit: int | None) -> int | None:
    if spec.strategy is RolloutStrategy.RAINBOW:
        return limit
    surge = spec.max_surge
    extra = math.ceil(desired * int(surge[:-1]) / 100) if surge.endswith("%") else int(surge)
    bounded = desired + max(1, extra)
    return bounded if limit is None else min(limit, bounded)


def _judge(
    spec: RolloutSpec,
    live: Version,
    previous: Version | None,
    old: Sequence[Version],
    now: float,
    ready_since: tuple[str, float] | None,
) -> Rollout:
    """The live version's verdict, and what a trial waits for."""
    if live.deployment.verdict is not Verdict.PENDING:
        return Rollout((), live.deployment.verdict)
    # Of a pod that is not Ready, too: one that the last look rejected has been cordoned, though its verdict may not be written.
    if previous is not None and fails_more(live, old):
        return Rollout((), Verdict.REJECTED)
    if not live.serving:
        pending = f"version {live.name} has no Ready pod yet" if previous and live.deployment.replicas else None
        return Rollout((), Verdict.PENDING, None, pending)
    if previous is None:
        return Rollout((), Verdict.ACCEPTED)
    since = ready_since[1] if ready_since and ready_since[0] == live.name else now
    if live.ended >= TRIAL_ATTEMPTS or now - since >= spec.gate_seconds:
        # Remembered until it is written: a write that fails must not begin the trial anew beside a version that has grown.
        return Rollout((), Verdict.ACCEPTED, (live.name, since))
    pending = (
        f"version {live.name} is tried on one pod: {live.ended} of {TRIAL_ATTEMPTS} attempts, "
        f"{now - since:.0f} of {spec.gate_seconds:g} s"
    )
    return Rollout((), Verdict.PENDING, (live.name, since), pending)


def fails_more(live: Version, old: Sequence[Version]) -> bool:
    """Whether a version fails more attempts than chance and the others' rate of failures explain."""
    ended, failed = sum(v.ended for v in old), sum(v.failed for v in old)
    rate = (failed + 1) / (ended + 2)
    expected = live.ended * rate
    bound = expected + _DEVIATIONS * math.sqrt(expected * (1 - rate))
    return live.failed >= _LEAST_FAILURES and live.failed > bound
