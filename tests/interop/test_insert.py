"""What our client inserts, River for Go reads and works."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from rivermill import Client, InsertOpts, JobState
from rivermill.schema import Schema
from tests.interop.peers import Peer

_TRIES = 200


@dataclass
class Echo:
    kind: ClassVar[str] = "conformance_echo"
    behavior: str = ""
    duration_ms: int = 0
    message: str = ""


async def test_jobs_insert_then_work(dsn: str, schema: Schema, go: Peer) -> None:
    """TestJobs/InsertThenWork, ours inserting: each outcome of a Go worker is read back by our client."""
    wanted = {
        "": JobState.COMPLETED,
        "output": JobState.COMPLETED,
        "cancel": JobState.CANCELLED,
        "error": JobState.DISCARDED,
    }
    client = Client(dsn, schema=schema)
    try:
        ids = {b: (await client.insert(Echo(b, 0, "a<é>&"), InsertOpts(max_attempts=1))).job.id for b in wanted}
        await go.call("start", client_id="go-1")
        seen = {}
        for _ in range(_TRIES):
            seen = {b: (await client.job_get(job_id)).state for b, job_id in ids.items()}
            if seen == wanted:
                break
            await asyncio.sleep(0.1)
        assert seen == wanted
        job = await client.job_get(ids["output"])
        assert (job.attempt, job.attempted_by, job.metadata) == (1, ("go-1",), {"output": {"message": "a<é>&"}})
        assert [e.error for e in (await client.job_get(ids["error"])).errors] == ["conformance retryable error"]
        await go.call("stop")
    finally:
        await client.stop()
