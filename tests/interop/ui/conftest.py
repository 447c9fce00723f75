"""A database that only we have written, our workers on it, and River UI in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from playwright.async_api import Page, expect

from rivermill import Client, InsertOpts, Job, JobRow, JobState, Workers
from rivermill.schema import Schema
from tests.interop.scenarios.support import until
from tests.interop.ui.server import Programs, browser, programs, river_ui

SHOTS = Path(__file__).parents[3] / "build" / "river-ui"
_LATER = timedelta(hours=1)


@dataclass
class Scan:
    """Scans a library: at once, in vain, in vain at first, or until it is cancelled."""

    kind: ClassVar[str] = "library_scan"
    library: str
    how: str = "at once"


@dataclass
class Mill:
    """A client of ours that works, and what its jobs have seen."""

    client: Client
    cancelled: set[int] = field(default_factory=set)

    async def insert(self, library: str, how: str = "at once", **opts: Any) -> int:
        """Insert a job; returns its id."""
        inserted = await self.client.insert(Scan(library, how), InsertOpts(**opts))
        return inserted.job.id

    async def reaches(self, job_id: int, state: JobState, attempt: int | None = None) -> JobRow:
        """Wait until a job is in a state, after so many attempts if that is said."""

        async def look() -> JobRow | None:
            row = await self.client.job_get(job_id)
            return row if row.state is state and attempt in (None, row.attempt) else None

        row: JobRow = await until(look)
        return row


@pytest.fixture(scope="session")
def installed() -> Programs:
    return programs()


@pytest.fixture
async def mill(installed: Programs, dsn: str, schema: Schema) -> AsyncIterator[Mill]:
    workers = Workers()

    @workers.work
    async def scan(job: Job[Scan]) -> None:
        if job.args.how == "in vain" or (job.args.how == "in vain at first" and job.attempt == 1):
            raise ValueError(f"no such library: {job.args.library}")
        if job.args.how == "until cancelled":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                mill.cancelled.add(job.id)
                raise

    client = Client(
        dsn,
        workers=workers,
        queues={"default": 10},
        schema=schema.name,
        client_id="mill-1",
        retry_policy=lambda _: datetime.now(UTC) + _LATER,
    )
    mill = Mill(client)
    await client.start()
    yield mill
    await client.stop(cancel=True)


@pytest.fixture
async def page(installed: Programs, dsn: str, mill: Mill, schema: Schema, tmp_path: Path) -> AsyncIterator[Page]:
    """River UI on the database of the mill."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=15_000)
    async with (
        river_ui(installed.server, dsn, schema.name, tmp_path / "riverui.log") as address,
        browser(installed.browser, address) as page,
    ):
        yield page
