"""What the benchmarks leave alone on a server that others use."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import pytest

from benchmarks.server import DatabaseExistsError, Server
from devcluster import Postgres
from rivermill.db import Connection


@pytest.fixture
def name() -> str:
    return f"bench_{os.getpid()}"


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Server:
    return Server(postgres, tmp_path)


async def test_a_database_of_others_is_neither_made_anew_nor_dropped(server: Server, connection: Connection, name: str) -> None:
    await connection.execute(f'CREATE DATABASE "{name}"')
    try:
        with pytest.raises(DatabaseExistsError, match=f"database {name} is there"):
            await server.renew_database(name)
        await server.drop_databases()
        assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 1
    finally:
        await connection.execute(f'DROP DATABASE "{name}"')


async def test_a_database_that_was_made_here_is_made_anew_and_dropped(
    server: Server, connection: Connection, name: str
) -> None:
    for _ in range(2):
        own = await asyncpg.connect(await server.renew_database(name))
        await own.execute("CREATE TABLE made (id int)")
        await own.close()
    await server.drop_databases()
    assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 0


def test_the_processor_time_of_a_server_that_was_not_started_here_is_unknown(server: Server) -> None:
    assert server.cpu_seconds() is None
