"""What ``tx=`` takes: the caller's own connection or session, in one of several libraries.

Statements are written for asyncpg. Other libraries are adapted, and imported only where the program has imported them.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from rivermill.db import Connection, SharedConnection
from rivermill.errors import RivermillError, ValidationError

Transaction = Any
"""An asyncpg connection, a psycopg ``AsyncConnection``, or an ``AsyncConnection`` or ``AsyncSession`` of SQLAlchemy; with
``SyncClient`` a psycopg ``Connection``, or a ``Connection`` or ``Session`` of SQLAlchemy on psycopg."""


class AdaptedConnection(ABC):
    """A connection of another library, with what of asyncpg's interface the statements in a caller's transaction need."""

    @abstractmethod
    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """Run a statement whose parameters are ``$1``, ``$2``, …; returns its rows."""

    @abstractmethod
    async def fetch_unprepared(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """As ``fetch``, never as a prepared statement."""

    async def fetchrow(self, sql: str, *args: Any) -> dict[str, Any] | None:
        """The first row; None if there is none."""
        rows = await self.fetch(sql, *args)
        return rows[0] if rows else None

    async def execute(self, sql: str, *args: Any) -> None:
        """Run a statement whose rows nobody wants."""
        await self.fetch(sql, *args)

    @abstractmethod
    async def copy_records_to_table(
        self, table_name: str, *, schema_name: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]
    ) -> None:
        """Write rows by COPY."""

    @abstractmethod
    def is_in_transaction(self) -> bool:
        """Whether statements are in a transaction, be it one that begins with the first of them."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A transaction."""

    @abstractmethod
    def is_closed(self) -> bool:
        """Whether it is closed."""


async def fetch_unprepared(connection: Connection, sql: str, *args: Any) -> list[Any]:
    """The rows of a statement that is planned for its values every time.

    A prepared statement gets one plan for any values, once PostgreSQL has found that as good as those it had made before. That
    is wrong where values differ much: a walk over all jobs ends soon if most match, and reads them all if few do.
    """
    if isinstance(connection, AdaptedConnection):
        return await connection.fetch_unprepared(sql, *args)
    statement = await connection.prepare(sql, name="")
    rows: list[Any] = await statement.fetch(*args)
    return rows


async def connection_of(tx: Transaction) -> Connection:
    """The connection to run statements on, in the caller's transaction, which begins here if it has not yet.

    Raises:
        ValidationError: it is nothing that ``tx=`` takes.
    """
    given = tx
    if "sqlalchemy.ext.asyncio" in sys.modules:
        from rivermill.adapters import sqlalchemy_async  # noqa: PLC0415

        tx = await sqlalchemy_async.driver_connection(tx)
    if isinstance(tx, asyncpg.Connection | PoolConnectionProxy | AdaptedConnection):
        return tx
    if "psycopg" in sys.modules:
        from rivermill.adapters import psycopg_async  # noqa: PLC0415

        if (adapted := psycopg_async.adapted(tx)) is not None:
            return adapted
    raise ValidationError(
        f"tx is a {_name(given)}: give an asyncpg connection, a psycopg AsyncConnection, or an AsyncConnection or AsyncSession "
        "of SQLAlchemy on one of these drivers; synchronous ones go with SyncClient"
    )


def sync_connection_of(tx: Transaction | None) -> AdaptedConnection | None:
    """The same for ``SyncClient``; to be called where the caller's transaction is, since a session may belong to its thread.

    Raises:
        ValidationError: it is nothing that ``tx=`` takes.
    """
    if tx is None:
        return None
    given = tx
    if "sqlalchemy" in sys.modules:
        from rivermill.adapters import sqlalchemy_sync  # noqa: PLC0415

        tx = sqlalchemy_sync.driver_connection(tx)
    if "psycopg" in sys.modules:
        from rivermill.adapters import psycopg_sync  # noqa: PLC0415

        if (adapted := psycopg_sync.adapted(tx)) is not None:
            return adapted
    raise ValidationError(
        f"tx is a {_name(given)}: give a psycopg Connection, or a Connection or Session of SQLAlchemy on psycopg; "
        "asynchronous ones go with Client"
    )


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


class LentConnection(SharedConnection):
    """The caller's own transaction in the place of a client's connection: used in turn as well, but never opened nor closed.

    Args:
        tx: what ``connection_of`` takes.
    """

    def __init__(self, tx: Transaction) -> None:
        self._lock = asyncio.Lock()
        self._tx = tx

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Wait for the turn and yield the connection.

        Raises:
            RivermillError: it is closed.
            ValidationError: it is nothing that ``tx=`` takes.
        """
        async with self._lock:
            connection = await connection_of(self._tx)
            if connection.is_closed():
                raise RivermillError("the connection given as tx= is closed: keep it open until the work in it is done")
            yield connection

    async def close(self) -> None:
        """Leave it to its owner."""
