"""One look goes on where a part of Kubernetes cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rivermill_operator.control import observe
from rivermill_operator.control.observe import Observer
from rivermill_operator.control.views import deployment_view
from rivermill_operator.kube.port import FleetObjects, Kube, KubeError
from rivermill_operator.model.observed import Observed, QueueProbe, StoreView, Unknown
from rivermill_operator.model.spec import Mode
from rivermill_operator.plan import Memory
from rivermill_operator.store.port import StoreError, Usage
from tests.unit.plan.build import depth, job_queue

AWAY, FORBIDDEN = KubeError(0, "GET /secrets: refused"), KubeError(403, "GET /secrets: forbidden")
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "q-1", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"replicas": 1},
}


@dataclass
class Cluster:
    """What the API server answers, in the order asked; an answer that is an error is raised."""

    secrets: list[Mapping[str, bytes] | KubeError | None]
    scalers: list[str | KubeError | None] = field(default_factory=lambda: [None])
    doubts: list[float | None] = field(default_factory=list)

    def fleet(self, namespace: str, name: str) -> FleetObjects:
        return FleetObjects([DEPLOYMENT], [])

    async def secret(self, namespace: str, name: str, *, within: float | None = None) -> Mapping[str, bytes] | None:
        self.doubts.append(within)
        return _next(self.secrets)

    async def conflict(self, namespace: str, name: str, deployments: Sequence[str]) -> str | None:
        found: str | None = _next(self.scalers)
        return found


def _next(answers: list[Any]) -> Any:
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(answer, KubeError):
        raise answer
    return answer


@dataclass
class Databases:
    """A database that answers the same always; remembers what it was opened with."""

    opened: list[str] = field(default_factory=list)
    error: StoreError | None = None
    older: tuple[tuple[str, str], str] | None = None
    answered: datetime | None = None

    def use(self, key: tuple[str, str], dsn: str, usage: Usage) -> Databases:
        self.opened.append(dsn)
        return self

    def older_user(self, key: tuple[str, str], dsn: str) -> tuple[tuple[str, str], str] | None:
        return self.older

    def release(self, key: tuple[str, str]) -> None:
        return None

    async def observe(self, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        self.answered = datetime.now(UTC)
        if self.error is not None:
            raise self.error
        return StoreView((depth(),))

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        raise NotImplementedError

    async def bury(self, client_ids: Sequence[str]) -> None:
        raise NotImplementedError


def observer_of(cluster: Cluster, databases: Databases, contested: str | None = None) -> Observer:
    return Observer(("n", "q"), cast(Kube, cluster), databases, contested)


async def looks(cluster: Cluster, databases: Databases, times: int) -> list[Observed]:
    observer = observer_of(cluster, databases)
    return [await observer.observe(job_queue(), Memory()) for _ in range(times)]


@pytest.mark.parametrize(
    ("answer", "reason", "field", "way_out"),
    [
        (None, "SecretNotFound", ".name", "no Secret db in namespace n; make it, with the postgresql:// URL in its key url"),
        (FORBIDDEN, "SecretForbidden", ".name", "give it the right to get Secrets there"),
        (AWAY, "SecretUnreadable", ".name", "which is tried again"),
        ({}, "SecretKeyMissing", ".key", "has no key url; put the postgresql:// URL there, or name the key that has it"),
        ({"url": b"\xff"}, "InvalidDatabaseURL", "", "is not text; write postgresql://USER:PASSWORD@HOST/DATABASE"),
    ],
)
async def test_a_secret_that_cannot_be_read_is_unknown(
    answer: Mapping[str, bytes] | KubeError | None, reason: str, field: str, way_out: str
) -> None:
    (look,) = await looks(Cluster([answer]), Databases(), 1)
    assert isinstance(look.store, Unknown)
    assert look.store.reason == reason
    assert f"spec.database.urlSecretRef{field}" in look.store.message
    assert "Secret db" in look.store.message
    assert way_out in look.store.message
    assert len(look.deployments) == 1


async def test_a_url_that_was_read_counts_while_the_api_server_is_away_and_not_when_it_is_forbidden() -> None:
    databases = Databases()
    found = await looks(Cluster([{"url": b"one"}, AWAY, {"url": b"two"}, FORBIDDEN]), databases, 4)
    assert databases.opened == ["one", "one", "two"]
    assert [isinstance(look.store, Unknown) for look in found] == [False, False, False, True]


@pytest.mark.parametrize(
    ("reason", "told"),
    [("AuthenticationFailed", True), ("DatabaseUnreachable", True), ("SchemaMissing", False), ("StatementTimeout", False)],
)
async def test_what_the_url_may_be_to_blame_for_names_its_secret(reason: str, *, told: bool) -> None:
    (look,) = await looks(Cluster([{"url": b"one"}]), Databases(error=StoreError(reason, "It is so.")), 1)
    assert isinstance(look.store, Unknown)
    blamed = " The URL is key url of Secret db (spec.database.urlSecretRef)."
    assert look.store.message == "It is so." + (blamed if told else "")


async def test_the_last_answer_about_other_autoscalers_counts() -> None:
    found = await looks(Cluster([{"url": b"one"}], [FORBIDDEN, "an HPA", AWAY, None, AWAY]), Databases(), 5)
    assert [look.conflict for look in found] == [None, "an HPA", "an HPA", None, None]
    assert [bool(look.unlooked) for look in found] == [True, False, False, False, False]


async def test_a_look_that_takes_long_tells_one_moment_by_both_clocks() -> None:
    databases = Databases()
    (look,) = await looks(Cluster([{"url": b"one"}]), databases, 1)
    assert databases.answered is not None
    assert look.utc >= databases.answered


async def test_a_url_is_doubted_while_the_database_cannot_be_read_with_it() -> None:
    cluster, databases = Cluster([{"url": b"one"}]), Databases()
    observer = observer_of(cluster, databases)
    for error in (None, StoreError("AuthenticationFailed", "no."), StoreError("Timeout", "late."), None, None):
        databases.error = error
        await observer.observe(job_queue(), Memory())
    # One that is slow has been reached.
    assert cluster.doubts == [None, None, 2.0, None, None]


@pytest.mark.parametrize(
    ("reason", "seconds", "pause"),
    [
        ("DatabaseUnreachable", 30.0, 2.0),
        ("DatabaseUnreachable", 60.0, 4.0),
        ("AuthenticationFailed", 900.0, 15.0),
        ("Timeout", 60.0, None),
        ("SchemaMissing", 60.0, None),
        ("StatementTimeout", 60.0, None),
    ],
)
async def test_the_longer_a_database_is_away_the_more_seldom_its_secret_is_read(
    monkeypatch: pytest.MonkeyPatch, reason: str, seconds: float, pause: float | None
) -> None:
    observer = observer_of(Cluster([{"url": b"one"}]), Databases(error=StoreError(reason, "It is so.")))
    for now in (100.0, 100.0 + seconds):
        monkeypatch.setattr(observe, "time", SimpleNamespace(monotonic=partial(float, now)))
        await observer.observe(job_queue(), Memory())
    assert observer.doubted == pause


async def test_a_look_tells_since_when_the_database_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = Databases()
    observer, readable = observer_of(Cluster([{"url": b"one"}]), databases), []
    for now, error in ((100.0, None), (130.0, None), (140.0, StoreError("Timeout", "late.")), (500.0, None), (505.0, None)):
        databases.error = error
        monkeypatch.setattr(observe, "time", SimpleNamespace(monotonic=partial(float, now)))
        readable.append((await observer.observe(job_queue(), Memory())).readable_seconds)
    assert readable == [0.0, 30.0, 0.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("before", "after", "renewed"),
    [
        ({"url": b"one"}, {"url": b"one"}, False),
        ({"url": b"one"}, {"url": b"two"}, True),
        ({}, {}, False),
        ({}, {"url": b"one"}, True),
        ({"url": b"one"}, {}, True),
        (FORBIDDEN, {}, True),
        ({"url": b"one"}, AWAY, False),
    ],
)
async def test_a_secret_that_was_mended_is_noticed(
    before: Mapping[str, bytes] | KubeError, after: Mapping[str, bytes] | KubeError, *, renewed: bool
) -> None:
    observer = observer_of(Cluster([before, after]), Databases(error=StoreError("AuthenticationFailed", "no.")))
    await observer.observe(job_queue(), Memory())
    assert observer.doubted is not None
    assert await observer.renewed(job_queue()) is renewed


@pytest.mark.parametrize("mode", [Mode.PAUSED, None])
async def test_who_does_not_read_doubts_nothing(mode: Mode | None) -> None:
    """Else the Secret of a paused JobQueue would be asked for every two seconds."""
    observer = observer_of(Cluster([{"url": b"one"}]), Databases(error=StoreError("AuthenticationFailed", "no.")))
    await observer.observe(job_queue(), Memory())
    queue = job_queue()
    still = replace(queue, wrong="it is") if mode is None else replace(queue, spec=replace(queue.spec, mode=mode))
    await observer.observe(still, Memory())
    assert observer.doubted is None


async def test_the_url_of_another_secret_does_not_count_for_this_one() -> None:
    cluster, databases = Cluster([{"url": b"one"}, AWAY]), Databases()
    observer, queue = observer_of(cluster, databases), job_queue()
    await observer.observe(queue, Memory())
    other = replace(queue, spec=replace(queue.spec, database=replace(queue.spec.database, secret_name="other")))
    look = await observer.observe(other, Memory())
    assert isinstance(look.store, Unknown)
    assert (look.store.reason, databases.opened) == ("SecretUnreadable", ["one"])


async def test_another_job_queue_is_a_conflict_also_while_the_database_is_away() -> None:
    databases = Databases(older=(("n", "older"), "default"))
    observer = observer_of(Cluster([{"url": b"one"}]), databases)
    first = await observer.observe(job_queue(), Memory())
    databases.error = StoreError("DatabaseUnreachable", "gone.")
    second = await observer.observe(job_queue(), Memory())
    assert (
        first.conflict
        == second.conflict
        == "JobQueue n/older works queue default of this database too: leave it to one of them."
    )


@pytest.mark.parametrize(("begun", "conflict"), [(15.0, "JobQueue older"), (-1.0, None)])
async def test_a_conflict_that_the_last_operator_found_counts_until_all_loops_have_begun(
    monkeypatch: pytest.MonkeyPatch, begun: float, conflict: str | None
) -> None:
    """The loop of the older JobQueue may begin after the younger one's: it must not take the queue over for a moment."""
    monkeypatch.setattr(observe, "BEGUN_SECONDS", begun)
    look = await observer_of(Cluster([{"url": b"one"}]), Databases(), "JobQueue older").observe(job_queue(), Memory())
    assert look.conflict == conflict


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        ({}, None),
        ({"conditions": [{"type": "ReplicaFailure", "status": "False", "message": "m"}]}, None),
        ({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}, "exceeded quota"),
        ({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]}, "FailedCreate"),
    ],
)
def test_a_deployment_tells_why_it_has_no_pods(status: dict[str, Any], failure: str | None) -> None:
    assert deployment_view(DEPLOYMENT | {"status": status}, datetime.now(UTC)).failure == failure


@pytest.mark.parametrize(
    ("status", "refused"),
    [(0, False), (400, True), (403, True), (404, False), (409, False), (422, True), (429, False), (500, False), (503, False)],
)
def test_what_is_refused_for_what_it_says(status: int, *, refused: bool) -> None:
    assert KubeError(status, "m").refused is refused


def test_an_applied_field_that_nobody_knows_is_refused_by_a_500() -> None:
    said = "failed to create typed patch object (n/q-1; apps/v1, Kind=Deployment): .spec.x: field not declared in schema"
    assert KubeError(500, f"PATCH /apis/apps/v1: {said}").refused
