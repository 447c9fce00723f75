"""In which order extensions are called: of every kind two of a client's, one of an args type's, two of a worker's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rivermill import Client, EventKind, Hook, InsertOpts, InsertParams, Job, JobFailure, Middleware, Plugin, Worker, Workers

_QUEUE = "layered"
_FAILS, _REFUSED = 2, 3
"""Priorities of the job that fails, and of the one whose attempt a hook refuses."""
_SECONDS = 30.0

_calls: list[str] = []
"""What the extensions of this process were called for: those of an args type know of no client that it could be in."""


def _text(error: BaseException | None) -> str:
    return "well" if error is None else str(error)


class Layer(Plugin):
    """Notes each call. It could be anything, so that the list that it stands in says what it is called for."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def insert_begin(self, params: Any) -> None:
        _calls.append(f"{self.name}: insert_begin")

    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        _calls.append(f"{self.name}: insert_many {len(params)}")
        results = await inner()
        _calls.append(f"{self.name}: inserted {len(results)}")
        return results

    async def work_begin(self, job: Job[Any]) -> None:
        _calls.append(f"{self.name}: work_begin")
        if self.name == "hook 2" and job.row.priority == _REFUSED:
            raise JobFailure("refused")

    async def work_end(self, job: Job[Any], error: BaseException | None) -> BaseException | None:
        _calls.append(f"{self.name}: work_end {_text(error)}")
        return None if error is None else JobFailure(f"{error}, {self.name}")

    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        _calls.append(f"{self.name}: work")
        error: BaseException | None = None
        try:
            await inner()
        except Exception as raised:
            error = raised
            raise
        finally:
            _calls.append(f"{self.name}: worked {_text(error)}")


@dataclass
class Layered:
    """Its jobs have extensions of their own."""

    kind: ClassVar[str] = "layered"
    hooks: ClassVar[tuple[Hook, ...]] = (Layer("hook of args"),)
    plugins: ClassVar[tuple[Plugin, ...]] = (Layer("plugin of args"),)


class LayeredWorker(Worker[Layered]):
    """Fails for one of the jobs."""

    middleware: Sequence[Middleware] = (Layer("worker's 1"), Layer("worker's 2"))

    async def work(self, job: Job[Layered]) -> None:
        _calls.append("worker")
        if job.row.priority == _FAILS:
            raise JobFailure("failed")


async def order(dsn: str, schema: str) -> dict[str, list[str]]:
    """Insert three jobs at once and work them one after the other; says what was called around that, and each job's error."""
    workers = Workers()
    workers.add(LayeredWorker())
    client = Client(
        dsn,
        schema=schema,
        workers=workers,
        queues={_QUEUE: 1},
        leader_election_disabled=True,
        hooks=[Layer("hook 1"), Layer("hook 2")],
        middleware=[Layer("middleware 1"), Layer("middleware 2")],
        plugins=[Layer("plugin 1"), Layer("plugin 2")],
    )
    _calls.clear()
    errors: list[str] = []
    try:
        jobs = [
            InsertParams(Layered(), InsertOpts(max_attempts=1, priority=priority, queue=_QUEUE))
            for priority in range(1, _REFUSED + 1)
        ]
        await client.insert_many(jobs)
        with client.subscribe([EventKind.JOB_COMPLETED, EventKind.JOB_FAILED]) as events:
            await client.start()
            async with asyncio.timeout(_SECONDS):
                for _ in jobs:
                    event = await anext(events)
                    errors += [failed.error for failed in event.job.errors] if event.job else []
    finally:
        await client.stop()
    return {"calls": list(_calls), "errors": errors}
