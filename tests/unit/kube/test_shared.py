"""Secrets and other autoscalers are read once for all who ask."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from rivermill_operator.kube import shared
from rivermill_operator.kube.client import KubeClient
from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.kube.shared import Shared
from tests.unit.kube.conftest import Api


@dataclass
class Server:
    """Answers with the number of the request, or with an error; ``now`` is its clock."""

    now: float = 0.0
    error: KubeError | None = None
    asked: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, path: str) -> int:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return number

    def shared(self) -> Shared[int]:
        return Shared(self.ask, 15.0, 2.0, lambda: self.now)


async def test_one_request_serves_all_who_ask_meanwhile_whoever_gives_up() -> None:
    server = Server()
    answers = server.shared()
    first, second = (asyncio.create_task(answers.get("a")) for _ in range(2))
    other = asyncio.create_task(answers.get("b"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    server.gate.set()
    assert (await second, await other, server.asked) == (1, 2, 2)


@pytest.mark.parametrize(("seconds", "within", "answer"), [(14.9, None, 1), (15.0, None, 2), (4.9, 5.0, 1), (5.0, 5.0, 2)])
async def test_an_answer_counts_for_a_while_and_a_shorter_one_where_it_is_doubted(
    seconds: float, within: float | None, answer: int
) -> None:
    server = Server()
    server.gate.set()
    answers = server.shared()
    await answers.get("a")
    server.now = seconds
    assert await answers.get("a", within=within) == answer


async def test_an_error_counts_for_a_moment_only() -> None:
    server = Server(error=KubeError(0, "away"))
    server.gate.set()
    answers = server.shared()
    for now, asked in ((0.0, 1), (1.9, 1), (2.0, 2)):
        server.now = now
        with pytest.raises(KubeError, match=r"^away$"):
            await answers.get("a")
        assert server.asked == asked
    server.error, server.now = None, 4.0
    assert await answers.get("a") == 3


async def test_who_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "ANSWER_SECONDS", 0.01)
    with pytest.raises(KubeError, match=r"^GET /a: no answer within 0\.01 s$"):
        await Server().shared().get("/a")


async def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    server = Server()
    server.gate.set()
    answers = server.shared()
    for number in range(100):
        server.now = 10.0 * number
        await answers.get(f"/{number}")
    assert len(answers._asked) <= 3


async def test_many_job_queues_cost_one_request_for_each_secret_and_each_namespace(api: Api, rest: Rest) -> None:
    scalers = [
        {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}}
        for kind, name in (("Deployment", "q1-v"), ("StatefulSet", "q2-v"), ("JobQueue", "q3"))
    ]

    async def handler(request: web.Request) -> web.Response:
        answer = {"items": scalers} if "autoscaling" in request.path else {"data": {"url": "b25l"}}
        return web.Response(text=json.dumps(answer))

    api.handler = handler
    kube = KubeClient(rest, lambda _: None, "me", ())
    secrets = await asyncio.gather(*(kube.secret("n", f"db{number % 2}") for number in range(40)))
    conflicts = await asyncio.gather(*(kube.conflict("n", f"q{number}", [f"q{number}-v"]) for number in range(4)))
    assert all(secret == {"url": b"one"} for secret in secrets)
    assert conflicts == [
        None,
        "HorizontalPodAutoscaler h scales Deployment q1-v too: delete one of the two writers.",
        None,
        "HorizontalPodAutoscaler h sets manualReplicas of this JobQueue: delete it, and remove manualReplicas.",
    ]
    assert len(api.requests) == 3
