"""A schema and a client for tests that have no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from rivermill import SyncClient
from rivermill.testing import migrated_schema


@pytest.fixture(autouse=True)
def debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's own loop refuses to be called from a wrong thread."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


@pytest.fixture
def sync_schema(dsn: str) -> Iterator[str]:
    """A migrated schema for a test that has no event loop."""
    with asyncio.Runner() as runner:
        context = migrated_schema(dsn)
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def client(dsn: str, sync_schema: str) -> Iterator[SyncClient]:
    with SyncClient(dsn, schema=sync_schema) as client:
        yield client
