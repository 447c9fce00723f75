"""One look goes on where a part of Kubernetes cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from rivermill_operator.control import observe
from rivermill_operator.control.observe import Observer
from rivermill_operator.control.views import deployment_view
from rivermill_operator.kube.port import FleetObjects, Kube, KubeError
from rivermill_operator.metrics import Metrics
from rivermill_operator.model.observed import Observed, QueueProbe, StoreView, Unknown
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

    secrets: list[Mapping[str, bytes] | KubeError]
    scalers: list[str | KubeError | None] = field(default_factory=lambda: [None])

    def fleet(self, namespace: str, name: str) -> FleetObjects:
        return FleetObjects([DEPLOYMENT], [])

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return _next(self.secrets)

    async def conflict(self, namespace: str, deployments: Sequence[str]) -> str | None:
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

    def use(self, key: tuple[str, str], dsn: str, usage: Usage) -> Databases:
        self.opened.append(dsn)
        return self

    def older_user(self, key: tuple[str, str], dsn: str) -> None:
        return None

    def release(self, key: tuple[str, str]) -> None:
        return None

    async def observe(self, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        if self.error is not None:
            raise self.error
        return StoreView((depth(),))

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        raise NotImplementedError

    async def bury(self, client_ids: Sequence[str]) -> None:
        raise NotImplementedError


async def looks(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, databases: Databases, times: int) -> list[Observed]:
    """So many looks, each of which reads everything anew."""
    monkeypatch.setattr(observe, "REFRESH_SECONDS", -1.0)
    observer = Observer(("n", "q"), cast(Kube, cluster), databases, Metrics())
    return [await observer.observe(job_queue(), Memory()) for _ in range(times)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (FORBIDDEN, "SecretForbidden"),
        (AWAY, "SecretUnreadable"),
        ({}, "SecretKeyMissing"),
        ({"url": b"\xff"}, "InvalidDatabaseURL"),
    ],
)
async def test_a_secret_that_cannot_be_read_is_unknown(
    monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, bytes] | KubeError, reason: str
) -> None:
    (look,) = await looks(monkeypatch, Cluster([answer]), Databases(), 1)
    assert isinstance(look.store, Unknown)
    assert look.store.reason == reason
    assert "Secret db" in look.store.message
    assert len(look.deployments) == 1


async def test_a_url_that_was_read_counts_while_the_api_server_is_away_and_not_when_it_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    databases = Databases()
    found = await looks(monkeypatch, Cluster([{"url": b"one"}, AWAY, {"url": b"two"}, FORBIDDEN]), databases, 4)
    assert databases.opened == ["one", "one", "two"]
    assert [isinstance(look.store, Unknown) for look in found] == [False, False, False, True]


@pytest.mark.parametrize(
    ("reason", "told"),
    [("AuthenticationFailed", True), ("DatabaseUnreachable", True), ("SchemaMissing", False), ("StatementTimeout", False)],
)
async def test_what_the_url_may_be_to_blame_for_names_its_secret(
    monkeypatch: pytest.MonkeyPatch, reason: str, *, told: bool
) -> None:
    (look,) = await looks(monkeypatch, Cluster([{"url": b"one"}]), Databases(error=StoreError(reason, "It is so.")), 1)
    assert isinstance(look.store, Unknown)
    assert look.store.message == "It is so." + (" The URL is key url of Secret db." if told else "")


async def test_the_last_answer_about_other_autoscalers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await looks(monkeypatch, Cluster([{"url": b"one"}], [FORBIDDEN, "an HPA", AWAY, None, AWAY]), Databases(), 5)
    assert [look.conflict for look in found] == [None, "an HPA", "an HPA", None, None]
    assert [bool(look.unlooked) for look in found] == [True, False, False, False, False]


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
