"""Real River for Go beside ours on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from rivermill.db import Connection
from rivermill.migrations import Migrator
from rivermill.schema import Schema
from tests.db.conftest import connection, dsn, empty_schema, postgres, schema
from tests.interop.peers import Peer, build_go, command_of

__all__ = ["connection", "dsn", "empty_schema", "postgres", "schema"]


class Spawn(Protocol):
    """Starts a process of an implementation, on the tests' database unless told by which way to reach it."""

    async def __call__(self, name: str, by: str | None = None) -> Peer: ...


@pytest.fixture(scope="session")
def built() -> None:
    """River for Go has been built: no peer waits for that."""
    build_go()


@pytest.fixture
async def spawn(built: None, dsn: str, empty_schema: Schema) -> AsyncIterator[Spawn]:
    """Starts processes on the test's schema, by name, and waits until they answer; each must exit with 0 unless killed."""
    peers: list[Peer] = []

    async def start(name: str, by: str | None = None) -> Peer:
        peer = Peer(name, command_of(name), by or dsn, empty_schema.name)
        peers.append(peer)
        await peer.open()
        return peer

    yield start
    codes = {peer.application: await peer.close() for peer in peers if not peer.killed}
    assert not any(codes.values()), codes


@pytest.fixture
async def go(spawn: Spawn) -> Peer:
    """River for Go."""
    return await spawn("go")


@pytest.fixture
async def river(connection: Connection, empty_schema: Schema) -> Schema:
    """A schema with River's tables and none of ours."""
    await Migrator(connection, empty_schema).up()
    return empty_schema


@pytest.fixture
async def peers(request: pytest.FixtureRequest, river: Schema, spawn: Spawn) -> list[Peer]:
    """The processes that a scenario asks for, in its order; see ``scenarios.support.scenario``."""
    return list(await asyncio.gather(*(spawn(name) for name in request.param)))
