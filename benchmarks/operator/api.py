"""A small client of the API server for the harness, with a connection pool of its own."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_PAGE = 500
_GONE = 410


class ApiError(Exception):
    """The API server refused a request."""


class Api:
    """Requests as the administrator.

    Args:
        kubeconfig: as the dev cluster writes it.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster = config["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._certificate = cluster["certificate-authority"]
        self._token = config["users"][0]["user"]["token"]

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._certificate)
        self._session = aiohttp.ClientSession(
            self._server,
            connector=aiohttp.TCPConnector(ssl=context, limit=32),
            headers={"Authorization": f"Bearer {self._token}"},
            read_bufsize=2**20,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: Any) -> Any:
        """Make a request and decode its answer; raises ApiError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, params=query, data=data, headers=headers) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(f"{method} {path}: {response.status} {text[:300]}")
            return json.loads(text)

    async def metrics(self) -> str:
        """The API server's metrics."""
        async with self._session.get("/metrics") as response:
            return await response.text()

    async def items(self, path: str, selector: str = "") -> tuple[list[dict[str, Any]], str]:
        """All objects of a collection, and the version that they were listed at."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": _PAGE, "labelSelector": selector}
        while True:
            answer = await self.send("GET", path, **query)
            found += answer["items"]
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return found, answer["metadata"]["resourceVersion"]

    async def follow(self, path: str, selector: str, see: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Call ``see`` with the kind of each change and the object, beginning with what is there, until cancelled."""
        while True:
            objects, version = await self.items(path, selector)
            for item in objects:
                see("ADDED", item)
            while version:
                version = await self._watch(path, selector, version, see)

    async def _watch(self, path: str, selector: str, version: str, see: Callable[[str, Mapping[str, Any]], None]) -> str:
        query = {"watch": "true", "labelSelector": selector, "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(path, params=query) as response:
            if response.status == _GONE:
                return ""
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return ""
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    see(event["type"], event["object"])
        return version
