"""Which replica acts: a Lease, held by renewing it.

Expiry is judged by a monotonic clock from when a change of the Lease was first seen, so that clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from rivermill_operator.kube.port import KubeError
from rivermill_operator.model.times import stamp

DURATION_SECONDS = 15.0
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
_SHORTEST_TRY_SECONDS = 0.1
_NOT_FOUND = 404

logger = logging.getLogger("rivermill.control.lease")


class Requests(Protocol):
    """The part of the REST client that the elector needs."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Make a request; raises KubeError."""
        ...


class _TakenError(Exception):
    """Another replica, or nobody, holds the lease that was ours."""


class Elector:
    """One replica's part in the election.

    Args:
        requests: the API server.
        namespace: of the Lease.
        name: of the Lease.
        identity: this replica.
    """

    def __init__(self, requests: Requests, namespace: str, name: str, identity: str) -> None:
        self._requests = requests
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._seen: tuple[str, float] | None = None
        self._renewed_at = float("-inf")
        self.acquired = asyncio.Event()

    async def run(self) -> None:
        """Try to acquire, then renew; returns when the lease is lost, before anybody else can have it."""
        while await self._turn():
            pause = RETRY_SECONDS * random.uniform(0.9, 1.1)
            await asyncio.sleep(min(pause, self._left()))
        logger.error("lease lost", extra={"identity": self._identity})

    async def _turn(self) -> bool:
        """One try; False when the lease is lost."""
        asked = self._now()
        if self._left() < _SHORTEST_TRY_SECONDS:
            return False
        try:
            held = await self._try()
        except _TakenError:
            return False
        if held:
            # Others may have seen the renewal as early as it was asked for, and count from then.
            self._renewed_at = asked
            if not self.acquired.is_set():
                logger.info("lease acquired", extra={"identity": self._identity})
                self.acquired.set()
        return True

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _left(self) -> float:
        """Seconds in which this replica may act without another renewal; endless for one that does not act."""
        return self._renewed_at + RENEW_DEADLINE_SECONDS - self._now() if self.acquired.is_set() else float("inf")

    async def release(self) -> None:
        """Give the lease up, so that another replica takes over at once."""
        if not self.acquired.is_set():
            return
        try:
            lease = await self._requests.request("GET", f"{self._collection}/{self._name}")
            if _spec(lease).get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._requests.request("PUT", f"{self._collection}/{self._name}", body=lease)
                logger.info("lease released")
        except KubeError as error:
            logger.warning("lease could not be released; it runs out by itself", extra={"error": str(error)})

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(min(RENEW_DEADLINE_SECONDS / 2, self._left())):
                return await self._acquire_or_renew()
        except KubeError as error:
            if not error.stale:
                logger.warning("lease cannot be read or written", extra={"error": str(error)})
            return False
        except TimeoutError:
            logger.warning("the API server did not answer about the lease in time")
            return False

    async def _acquire_or_renew(self) -> bool:
        path = f"{self._collection}/{self._name}"
        now = stamp(datetime.now(UTC), "microseconds")
        mine = {"holderIdentity": self._identity, "leaseDurationSeconds": int(DURATION_SECONDS), "renewTime": now}
        try:
            lease = await self._requests.request("GET", path)
        except KubeError as error:
            if error.status != _NOT_FOUND:
                raise
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": {**mine, "acquireTime": now, "leaseTransitions": 0},
            }
            await self._requests.request("POST", self._collection, body=body)
            return True
        spec = _spec(lease)
        holder = spec.get("holderIdentity") or ""
        if holder != self._identity:
            if self.acquired.is_set():
                raise _TakenError
            if holder and not self._expired(lease):
                return False
            mine |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        lease["spec"] = {**spec, **mine}
        await self._requests.request("PUT", path, body=lease)  # refused with 409 if somebody was faster
        return True

    def _expired(self, lease: Mapping[str, Any]) -> bool:
        version = str(lease["metadata"]["resourceVersion"])
        now = self._now()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > float(_spec(lease).get("leaseDurationSeconds") or DURATION_SECONDS)


def _spec(lease: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of a Lease, which whoever made it may have left out."""
    spec: Mapping[str, Any] = lease.get("spec") or {}
    return spec
