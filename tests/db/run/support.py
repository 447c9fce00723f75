"""What the tests of running clients share."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import asyncpg

from rivermill import ClaimMetric, Client, Hook, JobRow, JobState, Workers
from rivermill.claims import claim_sql
from rivermill.db import Connection
from rivermill.jobs import JobAdmin
from rivermill.schema import Schema


@dataclass
class Note:
    kind: ClassVar[str] = "note"
    text: str = ""


ME = "me"
"""The client of ``claim``."""


async def claim(connection: Connection, schema: Schema, *texts: str) -> list[Any]:
    """Insert notes and claim them; the rows as claimed, in their order."""
    table = schema.table("river_job")
    await connection.execute(
        f"INSERT INTO {table} (kind, args) SELECT 'note', jsonb_build_object('text', text) FROM unnest($1::text[]) AS text",
        texts,
    )
    records = await connection.fetch(claim_sql(schema), "default", len(texts), ME)
    return sorted(records, key=lambda record: record["id"])


async def rows(connection: Connection, schema: Schema, records: list[Any]) -> list[JobRow]:
    admin = JobAdmin(schema)
    return [await admin.get(connection, record["id"]) for record in records]


class Claims(Hook):
    """Counts claims by queue."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()

    def metric_emit(self, metric: ClaimMetric) -> None:
        self.made[metric.queue] += 1


async def running_for(connection: Connection, schema: Schema, client_id: str, silent: str) -> int:
    """Make a job that runs in a client, of another process, which was silent for that interval; its id."""
    await connection.execute(
        f"INSERT INTO {schema.table('rivermill_client')} (client_id, host, pid, version, queues, slots, last_seen_at) "
        "VALUES ($1, 'h', 1, '0', '{}', 1, now() - $2::text::interval)",
        client_id,
        silent,
    )
    job_id: int = await connection.fetchval(
        f"INSERT INTO {schema.table('river_job')} (kind, args, state, attempt, attempted_at, attempted_by) "
        "VALUES ('note', '{}', 'running', 1, now() - interval '5 hours', ARRAY[$1::text]) RETURNING id",
        client_id,
    )
    return job_id


async def eventually(check: Callable[[], Awaitable[Any]], timeout: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout
    while True:
        value = await check()
        if value:
            return value
        assert time.monotonic() < deadline, f"{check} never held"
        await asyncio.sleep(0.02)


async def waits_for_lock(dsn: str, connection: Connection) -> None:
    """Return once the statement that runs on a connection waits for another transaction."""
    watcher = await asyncpg.connect(dsn)
    try:
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
        await eventually(lambda: watcher.fetchval(blocked, connection.get_server_pid()))
    finally:
        await watcher.close()


@dataclass
class Bench:
    """A client, and looks at what it does."""

    client: Client
    connection: Connection
    schema: Schema

    async def job(self, job_id: int) -> JobRow:
        return await self.client.job_get(job_id)

    async def reaches(self, job_id: int, *states: JobState) -> JobRow:
        async def check() -> JobRow | None:
            row = await self.job(job_id)
            return row if row.state in states else None

        row: JobRow = await eventually(check)
        return row

    async def completes(self, count: int) -> None:
        """Return once so many jobs are completed."""
        sql = f"SELECT count(*) FROM {self.schema.table('river_job')} WHERE state = 'completed'"

        async def done() -> bool:
            return bool(await self.connection.fetchval(sql) == count)

        await eventually(done, 120)


@asynccontextmanager
async def working(dsn: str, connection: Connection, schema: Schema, workers: Workers, **settings: Any) -> AsyncIterator[Bench]:
    settings = {"queues": {"default": 10}, "http_host": "127.0.0.1"} | settings
    client = Client(dsn, workers=workers, schema=schema, **settings)
    await client.start()
    try:
        yield Bench(client, connection, schema)
    finally:
        await client.stop()
