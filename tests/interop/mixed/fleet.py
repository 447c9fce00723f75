"""Two clients of River for Go and two of ours on one schema, whose leaders are killed and replaced."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rivermill.db import Connection
from rivermill.schema import Schema
from tests.interop.conftest import Spawn
from tests.interop.mixed.workload import TO_CANCEL, UNIQUE, Workload
from tests.interop.peers import Peer
from tests.interop.scenarios.database import connections, leader
from tests.interop.scenarios.support import LEADERSHIP, until

PERIOD_MS = 2_000
MOST_JOB_SECONDS = 5
_OPTIONS: dict[str, Any] = {
    "max_workers": 25,
    "job_timeout_ms": MOST_JOB_SECONDS * 1_000,
    "rescue_after_ms": 2 * MOST_JOB_SECONDS * 1_000,
    "retry_delay_ms": 1_000,
    "periodic_every_ms": PERIOD_MS,
}
_BATCH = 250
_RUNNING_IN = """
SELECT array_agg(id) FROM {} WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = $1"""
_TICKS_SINCE = "SELECT count(*) FROM {} WHERE metadata ->> 'river:periodic_job_id' = 'conformance-tick' AND created_at >= $1"
_MOST_TERMS = 60
_BUSY = 5
"""Jobs that a client must run to be killed; some may end before it is."""


@dataclass(slots=True)
class Member:
    """One process; the lock is held while it answers, so that no request is cut off by a kill."""

    peer: Peer
    client: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fleet:
    """The processes, what they were given, and who was killed when.

    Args:
        spawn: starts a process.
        connection: to look into the database.
        schema: where the tables are.
        runs: the folder in which the clients write down what they run.
    """

    def __init__(self, spawn: Spawn, connection: Connection, schema: Schema, runs: Path) -> None:
        self._spawn = spawn
        self._connection = connection
        self._schema = schema
        self._runs = runs
        self._numbers = itertools.count()
        self._turns = itertools.count()
        self._workload = Workload()
        self.members: list[Member] = []
        self.killed: dict[str, int] = {}
        self.lost: set[int] = set()
        self.ids: set[int] = set()
        self.unique: dict[str, set[int]] = {}

    async def add(self, name: str) -> Member:
        """Start a client of an implementation."""
        client = f"{name}_{next(self._numbers)}"
        member = Member(await self._spawn(name), client)
        await member.peer.call("start", client_id=client, runs=str(self._runs / f"{client}.jsonl"), **_OPTIONS)
        self.members.append(member)
        return member

    async def ask(self, method: str, **params: Any) -> Any:
        """Ask the client whose turn it is."""
        while True:
            member = self.members[next(self._turns) % len(self.members)]
            async with member.lock:
                if member in self.members:
                    return await member.peer.call(method, **params)

    async def insert(self, count: int) -> None:
        """Insert jobs through all members in turn, the unique ones through each."""
        once, unique = self._workload.take(count)
        batches = [once[start : start + _BATCH] for start in range(0, len(once), _BATCH)]
        answers = await asyncio.gather(*(self.ask("insert", jobs=batch) for batch in batches))
        again = await asyncio.gather(*(self.ask("insert", jobs=unique) for _ in self.members))
        to_cancel = []
        for result in (result for answer in answers + again for result in answer["results"]):
            row = result["job"]
            self.ids.add(row["id"])
            if row["tags"] == [TO_CANCEL]:
                to_cancel.append(row["id"])
            if row["tags"] == [UNIQUE]:
                self.unique.setdefault(row["args"]["message"], set()).add(row["id"])
        await asyncio.gather(*(self.ask("cancel", id=job_id) for job_id in to_cancel))

    async def lead(self, name: str) -> Member:
        """Have a client of an implementation lead: whoever leads is asked to resign until one does."""
        for _ in range(_MOST_TERMS):
            member, since = await until(self._leading, LEADERSHIP)
            if member.peer.name == name:
                await until(partial(self._ticked, since))
                found: Member = member
                return found
            await self.ask("request_resign")
            await until(partial(self._other_term, since), LEADERSHIP)
        raise AssertionError(f"no client of {name} has led in {_MOST_TERMS} terms")

    async def kill(self, member: Member) -> None:
        """SIGKILL a client while it runs jobs."""
        async with member.lock:
            await until(partial(self._busy, member))
            self.members.remove(member)
            await member.peer.kill()
        self.killed[member.client] = time.time_ns()

        async def gone() -> bool:
            return await connections(self._connection, member.peer.application) == 0

        await until(gone)  # a statement it had sent may still be at work
        self.lost.update(await self._running_in(member))

    async def led(self) -> None:
        """Wait until a living client leads and inserts periodic jobs."""
        _, since = await until(self._leading, LEADERSHIP)
        await until(partial(self._ticked, since))

    async def stop(self) -> None:
        """Stop every client."""
        await asyncio.gather(*(member.peer.call("stop") for member in self.members))

    async def _leading(self) -> tuple[Member, Any] | None:
        found = await leader(self._connection, self._schema)
        if found is None:
            return None
        return next(((member, found[1]) for member in self.members if member.client == found[0]), None)

    async def _other_term(self, since: Any) -> bool:
        found = await leader(self._connection, self._schema)
        return found is not None and found[1] != since

    async def _ticked(self, since: Any) -> bool:
        sql = _TICKS_SINCE.format(self._schema.table("river_job"))
        return bool(await self._connection.fetchval(sql, since))

    async def _busy(self, member: Member) -> bool:
        return len(await self._running_in(member)) >= _BUSY

    async def _running_in(self, member: Member) -> list[int]:
        sql = _RUNNING_IN.format(self._schema.table("river_job"))
        return await self._connection.fetchval(sql, member.client) or []


async def cancel_running(fleet: Fleet, connection: Connection, schema: Schema) -> None:
    """Cancel, for ever, each job that waits for that once it runs; its own task and connection."""
    sql = f"""
        SELECT id FROM {schema.table("river_job")} WHERE state = 'running'
        AND args ->> 'behavior' = 'cooperative_cancel' AND NOT metadata ? 'cancel_attempted_at'"""
    while True:
        ids = [row["id"] for row in await connection.fetch(sql)]
        await asyncio.gather(*(fleet.ask("cancel", id=job_id) for job_id in ids))
        await asyncio.sleep(0.1)
