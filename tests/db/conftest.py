"""A real Postgres for the session, and a freshly migrated schema for each test."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from devcluster import Postgres, temporary_postgres
from rivermill import Client
from rivermill.db import Connection
from rivermill.migrations import LINES, Migrator
from rivermill.schema import Schema

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with temporary_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def dsn(postgres: Postgres) -> str:
    return postgres.url()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def empty_schema(connection: Connection) -> AsyncIterator[Schema]:
    """A schema with no table in it."""
    schema = Schema(f"t{os.getpid()}_{next(_numbers)}")
    await connection.execute(f'CREATE SCHEMA "{schema.name}"')
    yield schema
    await connection.execute(f'DROP SCHEMA "{schema.name}" CASCADE')


@pytest.fixture
async def schema(connection: Connection, empty_schema: Schema) -> Schema:
    """A schema with all tables."""
    for line in LINES:
        await Migrator(connection, empty_schema, line).up()
    return empty_schema


@pytest.fixture
async def client(dsn: str, schema: Schema) -> AsyncIterator[Client]:
    """A client that inserts and manages, and works nothing."""
    client = Client(dsn, schema=schema)
    yield client
    await client.stop()
