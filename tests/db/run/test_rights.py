"""Every part does its work with the rights that ``docs/database-rights.md`` lists for it, and no others."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from rivermill import Client, Concurrency, Interval, Job, JobSnooze, PeriodicJob, RateLimit, Unique, Workers, cli
from rivermill.db import Connection
from rivermill.schema import Schema
from rivermill_operator.model.observed import QueueProbe
from rivermill_operator.store import history
from rivermill_operator.store.port import Usage
from rivermill_operator.store.registry import Stores
from tests.db.run.parts import Part, part
from tests.db.run.support import Note, eventually, running_for
from tests.documents import ROOT

PAGE = (ROOT / "docs" / "database-rights.md").read_text(encoding="utf-8")
RIGHTS = dict(re.findall(r"^##+ ([^\n]+)\n(?:(?!^##).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

Allowed = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def allowed(dsn: str, connection: Connection, empty_schema: Schema, caplog: pytest.LogCaptureFixture) -> Allowed:
    """The URL of a role that has only the rights of some sections; meanwhile nothing may be logged of others that it lacks."""

    @asynccontextmanager
    async def allowed(*sections: str) -> AsyncIterator[str]:
        role, parts = f"role_{empty_schema.name}", urlsplit(dsn)
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        try:
            for section in sections:
                sql = re.sub(r"\bapp_\w+", role, RIGHTS[section]).replace("SCHEMA public", f"SCHEMA {empty_schema.name}")
                await connection.execute(sql.replace("public.", f"{empty_schema.name}."))
            yield parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}").geturl()
        finally:
            await connection.execute(f"DROP OWNED BY {role}")
            await connection.execute(f"DROP ROLE {role}")
        assert [vars(record) for record in caplog.records if "permission denied" in str(vars(record))] == []

    return allowed


async def test_migrating(allowed: Allowed, empty_schema: Schema) -> None:
    async with allowed("Migrating") as url:
        for action in ("up", "validate", "storage --tune", "storage --drop-gin-indexes", "down --line rivermill", "down"):
            words = f"migrate {action} --database-url {url} --schema {empty_schema.name}".split()
            assert await asyncio.to_thread(cli.main, words) == 0, action


async def test_inserting(allowed: Allowed, schema: Schema) -> None:
    async with allowed("Inserting") as url:
        client = Client(url, schema=schema)
        other = await asyncpg.connect(url)
        try:
            inserted = await client.insert(Note("a"))
            assert (await client.job_get(inserted.job.id)).args == {"text": "a"}
            await client.insert_many_fast([Note("b"), Note("c")])
            async with other.transaction():
                await client.insert(Note("d"), tx=other)
            twice = [await client.insert(Note("e"), unique=Unique(by_args=True)) for _ in range(2)]
            assert [result.unique_skipped_as_duplicate for result in twice] == [False, True]
            await client.insert_many([part(), part()])
        finally:
            await other.close()
            await client.stop()


@pytest.fixture
def busy(workers: Workers) -> Workers:
    """Notes insert a part of a sequence; parts snooze once."""

    @workers.work
    async def note(job: Job[Note]) -> None:
        await job.client.insert_many([part(), part("b")])

    @workers.work
    async def work(job: Job[Part]) -> None:
        if "snoozes" not in job.row.metadata:
            raise JobSnooze(timedelta(0))

    return workers


async def ended(connection: Connection, schema: Schema, count: int) -> None:
    async def check() -> bool:
        states = await connection.fetch(f"SELECT DISTINCT state::text, count(*) FROM {schema.table('river_job')} GROUP BY 1")
        return [tuple(row) for row in states] == [("completed", count)]

    await eventually(check)


async def test_working(allowed: Allowed, connection: Connection, schema: Schema, busy: Workers) -> None:
    settings: dict[str, Any] = {
        "concurrency_limits": {"default": Concurrency(2)},
        "rate_limits": {"default": RateLimit(1000, timedelta(days=1))},
        "leader_election_disabled": True,
    }
    async with allowed("Working") as url:
        async with Client(url, schema=schema, workers=busy, queues={"default": 5}, **settings) as client:
            await client.insert_many([Note("a"), Note("b")])
            await ended(connection, schema, 6)
            await client.queue_pause("default")
            await client.queue_resume("default")
            assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 1
            assert await connection.fetchval(f"SELECT sum(started) FROM {schema.table('rivermill_rate')}") > 0
        assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('rivermill_client')}") == 0


@pytest.mark.parametrize("rebuild", [False, True])
async def test_leading(
    allowed: Allowed,
    connection: Connection,
    schema: Schema,
    busy: Workers,
    caplog: pytest.LogCaptureFixture,
    *,
    rebuild: bool,
) -> None:
    if rebuild and connection.get_server_version().major < 17:
        pytest.skip("the right MAINTAIN came with PostgreSQL 17")
    caplog.set_level(logging.INFO, logger="rivermill")
    await what_a_leader_has_to_do(connection, schema)
    settings: dict[str, Any] = {
        "periodic_jobs": [PeriodicJob(Interval(timedelta(days=1)), Note, run_on_start=True)],
        "reindexer_schedule": Interval(timedelta(seconds=1)) if rebuild else None,
    }
    async with allowed("Working", "Leading", *(["Rebuilding indexes"] if rebuild else [])) as url:
        async with Client(url, schema=schema, workers=busy, queues={"default": 5}, **settings):
            # The periodic note and the one that was lost, with two parts each, and the one that was scheduled.
            await ended(connection, schema, 7)

            async def forgotten() -> bool:
                return await connection.fetchval(
                    f"SELECT NOT EXISTS (SELECT FROM {schema.table('river_queue')} WHERE name = 'old') "
                    f"AND NOT EXISTS (SELECT FROM {schema.table('rivermill_client')} WHERE client_id = 'gone')"
                )

            async def rebuilt() -> bool:
                return not rebuild or "index rebuilt" in caplog.messages

            await eventually(forgotten)
            await eventually(rebuilt)
        assert await connection.fetchval(f"SELECT count(*) FROM {schema.table('river_leader')}") == 0


async def what_a_leader_has_to_do(connection: Connection, schema: Schema) -> None:
    """A job that is due, one of a dead client, an old one, and a queue that nobody works."""
    await running_for(connection, schema, "gone", "1 hour")
    await connection.execute(
        f"INSERT INTO {schema.table('river_job')} (kind, args, state, finalized_at) "
        "VALUES ('old', '{}', 'completed', now() - interval '2 days'), ('part', '{}', 'scheduled', NULL)"
    )
    await connection.execute(f"INSERT INTO {schema.table('river_queue')} (name, updated_at) VALUES ('old', '2020-01-01')")


async def test_operating(allowed: Allowed, connection: Connection, schema: Schema) -> None:
    await running_for(connection, schema, "mine", "20 seconds")
    await connection.execute(f"UPDATE {schema.table('rivermill_client')} SET pod_uid = 'u1'")
    async with allowed("The operator") as url:
        stores = Stores(lambda _: None)
        try:
            store = stores.use(("n", "q"), url, Usage("2026-01-01T00:00:00Z", schema.name, frozenset({"default"})))
            view = await store.observe([QueueProbe("default")], ["u1"])
            assert (view.queues[0].running, [client.client_id for client in view.clients]) == (1, ["mine"])
            assert view.server is not None
            await store.want("cordoned", ["mine"])
            await store.bury(["mine"])
            assert await history.read(url, schema.name, 1.0) == []
        finally:
            await stores.close()
    client = await connection.fetchrow(f"SELECT wanted_state, last_seen_at FROM {schema.table('rivermill_client')}")
    assert (client["wanted_state"], client["last_seen_at"].year) == ("cordoned", 1970)
