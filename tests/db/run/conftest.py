"""Clients that lose no time, and leave no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from rivermill import Workers
from rivermill.db import Connection
from rivermill.leader import ElectionTimings
from rivermill.maintenance.services import MaintenanceTimings
from rivermill.notify import ListenerTimings
from rivermill.runtime import Runtime
from rivermill.schema import Schema
from rivermill.sequencer import SequencerTimings
from rivermill.timings import Timings
from tests.db.run.pgbouncer import pgbouncer

FAST = Timings(
    election=ElectionTimings(interval=0.2, jitter=0.1, ttl=1.5, trust=1.2),
    maintenance=MaintenanceTimings(stagger=0.1, schedule=0.2, rescue=0.2, clean_jobs=0.2, clean_queues=0.5, dead_after=1.5),
    listener=ListenerTimings(heartbeat=0.3, check=0.2, timeout=5.0),
    sequencer=SequencerTimings(leading=0.2, following=0.3, missing=0.3),
)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Runtime.__init__

    def init(self: Runtime, *args: Any, timings: Timings = FAST) -> None:
        original(self, *args, timings=timings)

    monkeypatch.setattr(Runtime, "__init__", init)


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    names = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not {name for name in names if name.startswith(("rivermill", "job "))}


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[Connection]:
    """A second connection, for what two transactions do to each other."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
async def login(dsn: str, connection: Connection, schema: Schema) -> AsyncIterator[tuple[str, str]]:
    """A role with the rights of the schema's owner, and the URL with its password."""
    role = f"login_{schema.name}"
    owner = await connection.fetchval("SELECT current_user")
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'one' IN ROLE \"{owner}\"")
    parts = urlsplit(dsn)
    yield role, urlunsplit(parts._replace(netloc=f"{role}:one@{parts.netloc.rpartition('@')[2]}"))
    await connection.execute(f"DROP ROLE {role}")


@pytest.fixture
def pooler(tmp_path: Path, dsn: str) -> Iterator[str]:
    """The URL of a transaction pooler before the database."""
    with pgbouncer(tmp_path, dsn) as url:
        yield url
