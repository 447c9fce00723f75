"""A local HTTP server in the place of the API server, for faults that a real one cannot be asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from rivermill_operator.kube.rest import Rest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Answers every request by ``handler``, which a test sets."""

    def __init__(self) -> None:
        self.handler: Handler = _nothing
        self.requests: list[tuple[str, str]] = []

    def answers(self, status: int, body: str) -> None:
        """Give this answer to everything."""

        async def handler(request: web.Request) -> web.Response:
            return web.Response(status=status, text=body)

        self.handler = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """What the server calls."""
        self.requests.append((request.method, request.path_qs))
        return await self.handler(request)


async def _nothing(request: web.Request) -> web.Response:
    raise web.HTTPNotFound


def use_kubeconfig(monkeypatch: pytest.MonkeyPatch, directory: Path, server: str) -> None:
    """Let programs in this process find this API server by their kubeconfig."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (directory / "config").write_text(json.dumps(config))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(directory / "config"))


@pytest.fixture
async def api() -> Api:
    return Api()


@pytest.fixture
async def rest(api: Api) -> AsyncIterator[Rest]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(application, shutdown_timeout=0.1) as server:
        rest = Rest(client.ApiClient(client.Configuration(host=str(server.make_url("")).rstrip("/"))))
        yield rest
        await rest.close()
