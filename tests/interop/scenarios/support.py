"""What the scenarios share: how they are named and run, how jobs are described, how effects are awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.interop.peers import Peer

EACH = [("go",), ("python",)]
BOTH_WAYS = [("python", "go"), ("go", "python")]
#: Ours beside River's, for what is compared.
SIDE_BY_SIDE = [("python", "go")]

WORK, MAINTENANCE, LEADERSHIP = 15.0, 45.0, 30.0
"""Seconds within which an effect must be seen, by what brings it about."""


RESCUE: dict[str, Any] = {"rescue_after_ms": 2_000, "job_timeout_ms": 1_000, "retry_delay_ms": 1}
"""How to start a client that rescues a job soon after it was claimed."""


def scenario(name: str, runs: list[tuple[str, ...]]) -> pytest.MarkDecorator:
    """Runs a test with the fixture ``peers`` once for each tuple of implementations, under the scenario's name."""
    ids = [f"{name}/{'-'.join(peers)}" for peers in runs]
    return pytest.mark.parametrize("peers", runs, ids=ids, indirect=True)


def job(behavior: str = "", message: str = "", duration_ms: int = 0, **opts: Any) -> dict[str, Any]:
    """A job to insert."""
    described: dict[str, Any] = {"behavior": behavior, "duration_ms": duration_ms, "message": message}
    return described | ({"opts": opts} if opts else {})


async def insert(peer: Peer, *jobs: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    """Insert jobs; returns their rows."""
    results = (await peer.call("insert", jobs=list(jobs), **params))["results"]
    return [result["job"] for result in results]


async def get(peer: Peer, job_id: int, **params: Any) -> dict[str, Any]:
    """One row."""
    (row,) = (await peer.call("list", ids=[job_id], **params))["jobs"]
    return dict(row)


async def until(check: Callable[[], Awaitable[Any]], seconds: float = WORK, pause: float = 0.02) -> Any:
    """Ask until the answer is true, and return it; fails with the last answer after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := await check()):
        assert time.monotonic() < deadline, f"not seen within {seconds:.0f} s: {check}"
        await asyncio.sleep(pause)
    return answer


async def reaches(peer: Peer, job_id: int, state: str, seconds: float = WORK, **params: Any) -> dict[str, Any]:
    """Wait until a job is in a state; returns its row."""
    row: dict[str, Any] = {}
    deadline = time.monotonic() + seconds
    while (row := await get(peer, job_id, **params))["state"] != state:
        assert time.monotonic() < deadline, f"not {state} within {seconds:.0f} s: {row}"
        await asyncio.sleep(0.02)
    return row


async def sees(peer: Peer, *events: str) -> None:
    """Wait until these are all the events that a working client has had, in their order."""

    async def look() -> bool:
        return bool((await peer.call("stats"))["events"] == list(events))

    await until(look)
