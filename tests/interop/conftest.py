"""Real River for Go beside ours on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from rivermill.schema import Schema
from tests.db.conftest import connection, dsn, empty_schema, postgres, schema
from tests.interop.peers import Peer, build_go

__all__ = ["connection", "dsn", "empty_schema", "postgres", "schema"]

Spawn = Callable[[], Awaitable[Peer]]


@pytest.fixture(scope="session")
def riverpeer() -> Path:
    return build_go()


@pytest.fixture
async def spawn(dsn: str, empty_schema: Schema, riverpeer: Path) -> AsyncIterator[Spawn]:
    """Starts processes of River for Go on the test's schema; each must exit with 0 unless the test has killed it."""
    peers: list[Peer] = []

    async def start() -> Peer:
        peer = Peer("go", (str(riverpeer),), dsn, empty_schema.name)
        await peer.open()
        peers.append(peer)
        return peer

    yield start
    codes = {peer.application: await peer.close() for peer in peers if not peer.killed}
    assert not any(codes.values()), codes


@pytest.fixture
async def go(spawn: Spawn) -> Peer:
    """River for Go."""
    return await spawn()
