"""A cache follows the API server through everything that breaks a watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from rivermill_operator.kube import cache as cache_module
from rivermill_operator.kube import rest as rest_module
from rivermill_operator.kube.cache import Cache
from rivermill_operator.kube.rest import Rest
from tests.unit.kube.conftest import Api

KEY = ("n", "q")
Script = Callable[[web.Request], AsyncIterator[dict[str, Any]]]


def pod(name: str, version: int = 1) -> dict[str, Any]:
    labels = {"rivermill.dev/jobqueue": "q"}
    return {"metadata": {"name": name, "namespace": "n", "labels": labels, "resourceVersion": str(version)}}


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


def gone() -> dict[str, Any]:
    return event("ERROR", {"code": 410, "message": "too old resource version"})


class Cluster:
    """Lists ``pods`` in turn, and lets each watch follow its script; the last of both stays."""

    def __init__(self, api: Api, lists: list[list[dict[str, Any]]], watches: list[Script]) -> None:
        self.lists, self.watches = lists, watches
        self.listed, self.watched = 0, list[str]()
        api.handler = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            items = self.lists[min(self.listed, len(self.lists) - 1)]
            self.listed += 1
            return web.json_response({"metadata": {"resourceVersion": f"{self.listed}00"}, "items": items})
        script = self.watches[min(len(self.watched), len(self.watches) - 1)]
        self.watched.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        async for line in script(request):
            await response.write(json.dumps(line).encode() + b"\n")
        return response


async def quiet(_: web.Request) -> AsyncIterator[dict[str, Any]]:
    await asyncio.sleep(3600)
    yield {}


def says(*events: dict[str, Any], then: Script | None = quiet) -> Script:
    async def script(request: web.Request) -> AsyncIterator[dict[str, Any]]:
        for line in events:
            yield line
        if then is not None:
            async for line in then(request):
                yield line

    return script


async def cut(request: web.Request) -> AsyncIterator[dict[str, Any]]:
    assert request.transport is not None
    request.transport.close()
    return
    yield {}


@pytest.fixture
async def follow(rest: Rest) -> AsyncIterator[Callable[..., Any]]:
    running: list[asyncio.Task[None]] = []

    async def follow(names: list[str], until: Callable[[], bool] = lambda: True) -> list[tuple[str, str]]:
        """Run a cache until it holds these pods; returns whom it woke."""
        woken: list[tuple[str, str]] = []
        cache = Cache(rest, "/api/v1/pods", woken.append)
        running.append(asyncio.create_task(cache.run()))
        async with asyncio.timeout(20):
            while [obj["metadata"]["name"] for obj in cache.get(KEY)] != names or not until():
                assert not running[0].done()
                await asyncio.sleep(0.01)
        return woken

    yield follow
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_events_change_what_was_listed_and_wake(api: Api, follow: Callable[..., Any]) -> None:
    script = says(event("ADDED", pod("b", 101)), event("MODIFIED", pod("a", 102)), event("DELETED", pod("c", 103)))
    Cluster(api, [[pod("a"), pod("c")]], [script])
    assert set(await follow(["a", "b"])) == {KEY}


async def test_an_orderly_end_goes_on_from_the_last_version(api: Api, follow: Callable[..., Any]) -> None:
    first = says(event("BOOKMARK", pod("", 150)), then=None)
    cluster = Cluster(api, [[]], [first, says(event("ADDED", pod("a", 151)))])
    await follow(["a"])
    assert (cluster.listed, cluster.watched) == (1, ["100", "150"])


async def test_what_vanished_in_a_gap_is_gone(api: Api, follow: Callable[..., Any]) -> None:
    cluster = Cluster(api, [[pod("a"), pod("b")], [pod("b")]], [says(gone(), then=None), quiet])
    await follow(["b"])
    assert (cluster.listed, cluster.watched[0]) == (2, "100")


@pytest.mark.parametrize(
    "fault", [says(event("ADDED", pod("x", 101)), then=cut), says(event("ERROR", {"code": 500, "message": "no"}), then=None)]
)
async def test_a_broken_watch_lists_again(api: Api, follow: Callable[..., Any], fault: Script) -> None:
    cluster = Cluster(api, [[pod("a")], [pod("b")]], [fault, quiet])
    await follow(["b"])
    assert cluster.listed == 2


async def test_a_silent_watch_is_asked_again_without_a_list(
    api: Api, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the connection has died without a word: nothing is ever heard on it."""
    monkeypatch.setattr(rest_module, "SILENT_SECONDS", 0.3)
    script = says(event("ADDED", pod("a", 101)))
    cluster = Cluster(api, [[]], [script, says(event("ADDED", pod("b", 102)))])
    await follow(["a", "b"])
    assert (cluster.listed, cluster.watched[:2]) == (1, ["100", "101"])


@pytest.mark.parametrize("answer", [429, 403, 200])
async def test_watches_that_end_at_once_are_asked_for_ever_more_slowly(
    api: Api, follow: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    delays: list[int] = []

    def note(failures: int) -> float:
        delays.append(failures)
        return 0.001

    monkeypatch.setattr(cache_module, "_back_off", note)

    async def handler(request: web.Request) -> web.Response:
        if "watch" in request.query:
            return web.Response(status=answer)
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [pod("a")]})

    api.handler = handler
    await follow(["a"], lambda: len(delays) >= 4)
    assert delays[:4] == [1, 2, 3, 4]


@pytest.mark.parametrize(("failures", "least", "most"), [(0, 0.1, 0.2), (1, 0.2, 0.4), (5, 3.2, 6.4), (500, 15, 30)])
def test_back_off_has_a_bound(failures: int, least: float, most: float) -> None:
    assert all(least <= cache_module._back_off(failures) <= most for _ in range(100))


async def test_a_long_list_is_read_by_pages(api: Api, rest: Rest) -> None:
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(3600)
        asked.append(request.query.get("continue"))
        more = {} if asked[-1] else {"continue": "rest"}
        name = "b" if asked[-1] else "a"
        return web.json_response({"metadata": {"resourceVersion": "100", **more}, "items": [pod(name)]})

    api.handler = handler
    cache = Cache(rest, "/api/v1/pods", lambda _: None)
    running = asyncio.create_task(cache.run())
    async with asyncio.timeout(10):
        await cache.synced.wait()
    assert [obj["metadata"]["name"] for obj in cache.get(KEY)] == ["a", "b"]
    assert asked == [None, "rest"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
