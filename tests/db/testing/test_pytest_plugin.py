"""The fixtures that applications' tests get from ``rivermill.pytest_plugin``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
import pytest

from rivermill import Client, SyncClient
from rivermill.pytest_plugin import river_dsn as the_plugins_dsn
from rivermill.pytest_plugin import river_schema

__all__ = ["river_schema"]

_SCHEMAS: set[str] = set()


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"


@pytest.fixture
def river_dsn(dsn: str) -> str:
    return dsn


@pytest.fixture
def gone_afterwards(river_dsn: str) -> Iterator[None]:
    """Set up before the schema, so it looks once that has been dropped."""
    yield
    found = asyncio.run(_schemas(river_dsn))
    assert _SCHEMAS
    assert not _SCHEMAS & found


async def _schemas(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["nspname"] for row in await connection.fetch("SELECT nspname FROM pg_namespace")}
    finally:
        await connection.close()


@pytest.mark.usefixtures("gone_afterwards")
def test_a_synchronous_test_has_a_schema(river_dsn: str, river_schema: str) -> None:
    _SCHEMAS.add(river_schema)
    with SyncClient(river_dsn, schema=river_schema) as client:
        assert client.insert(Mail()).job.id == 1


@pytest.mark.parametrize("number", range(2))
async def test_each_test_has_its_own(river_dsn: str, river_schema: str, number: int) -> None:
    assert river_schema not in _SCHEMAS
    _SCHEMAS.add(river_schema)
    client = Client(river_dsn, schema=river_schema)
    assert (await client.insert(Mail())).job.id == 1
    await client.stop()


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    with pytest.raises(pytest.fail.Exception, match="TEST_DATABASE_URL"):
        the_plugins_dsn.__wrapped__()  # type: ignore[attr-defined]
