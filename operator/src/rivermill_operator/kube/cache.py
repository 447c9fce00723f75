"""One list-and-watch cache a kind, replaced whole on each relist: what vanished during a gap is gone here too.

Of each object only what decisions look at is kept.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from rivermill_operator.kube.port import KubeError
from rivermill_operator.kube.rest import Rest
from rivermill_operator.kube.slim import slim
from rivermill_operator.model.names import JOB_QUEUE_LABEL, MANAGED_SELECTOR

_GONE = 410
_MAX_BACKOFF = 30.0
_SHORTEST_WATCH_SECONDS = 0.25
#: Objects of one answer; thousands at once would be in memory whole, as text and decoded.
_PAGE = 250

logger = logging.getLogger("rivermill.kube.cache")

Key = tuple[str, str]


class Cache:
    """The objects of one kind that this operator manages.

    Args:
        rest: where from.
        path: collection, such as ``/apis/apps/v1/deployments``.
        wake: called with (namespace, JobQueue name) when an object of it changed.
    """

    def __init__(self, rest: Rest, path: str, wake: Callable[[Key], None]) -> None:
        self._rest = rest
        self.path = path
        self._wake = wake
        self._objects: dict[Key, dict[str, dict[str, Any]]] = {}
        self.synced = asyncio.Event()

    def get(self, key: Key) -> list[dict[str, Any]]:
        """The objects of one JobQueue, by name."""
        return [obj for _, obj in sorted(self._objects.get(key, {}).items())]

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                version = await self._list()
                while True:
                    version = await self._watch(version)
            except KubeError as error:
                if time.monotonic() - started > _MAX_BACKOFF:
                    failures = 0
                if error.status != _GONE:
                    failures += 1
                    logger.warning("watch broken, listing again", extra={"path": self.path, "error": str(error)})
                await asyncio.sleep(_back_off(failures))

    async def _list(self) -> str:
        query: dict[str, Any] = {"labelSelector": MANAGED_SELECTOR, "limit": _PAGE}
        found: dict[Key, dict[str, dict[str, Any]]] = {}
        while True:
            answer = await self._rest.request("GET", self.path, query=query)
            for obj in answer.get("items") or []:
                found.setdefault(_key(obj), {})[obj["metadata"]["name"]] = slim(obj)
            query["continue"] = answer["metadata"].get("continue")
            if not query["continue"]:
                break
        before, self._objects = self._objects, found
        self.synced.set()
        for key in {*before, *found}:
            self._wake(key)
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> str:
        query = {"labelSelector": MANAGED_SELECTOR, "resourceVersion": version}
        started, heard = time.monotonic(), False
        async for event in self._rest.watch(self.path, query):
            obj, heard = event["object"], True
            if event["type"] == "ERROR":
                raise KubeError(int(obj.get("code", 0)), str(obj.get("message")))
            version = obj["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._change(event["type"], obj)
        if not heard and time.monotonic() - started < _SHORTEST_WATCH_SECONDS:
            raise KubeError(0, f"watch of {self.path} ended at once")
        return version

    def _change(self, kind: str, obj: dict[str, Any]) -> None:
        key, name = _key(obj), obj["metadata"]["name"]
        if kind == "DELETED":
            self._objects.get(key, {}).pop(name, None)
        else:
            self._objects.setdefault(key, {})[name] = slim(obj)
        self._wake(key)


def _key(obj: Mapping[str, Any]) -> Key:
    meta = obj["metadata"]
    return meta["namespace"], meta.get("labels", {}).get(JOB_QUEUE_LABEL, "")


def _back_off(failures: int) -> float:
    return float(min(_MAX_BACKOFF, 0.2 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))
