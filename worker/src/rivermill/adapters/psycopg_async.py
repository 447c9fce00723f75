"""Statements on a psycopg ``AsyncConnection``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import dict_row

from rivermill.adapters import psycopg_values as values
from rivermill.transactions import AdaptedConnection


class AsyncPsycopg(AdaptedConnection):
    """A connection of the caller's."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    def _cursor(self) -> psycopg.AsyncRawCursor[dict[str, Any]]:
        return values.reading(psycopg.AsyncRawCursor(self._connection, row_factory=dict_row))

    def _synchronised(self) -> AbstractAsyncContextManager[Any]:
        """At its end results are there, also in a pipeline of the caller's."""
        piped = self._connection.info.pipeline_status is not PipelineStatus.OFF
        return self._connection.pipeline() if piped else nullcontext()

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """See the base class."""
        return await self._fetch(sql, args)

    async def fetch_unprepared(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """See the base class."""
        return await self._fetch(sql, args, prepare=False)

    async def _fetch(self, sql: str, args: Sequence[Any], prepare: bool | None = None) -> list[dict[str, Any]]:
        async with self._cursor() as cursor:
            async with self._synchronised():
                await cursor.execute(sql.encode(), values.parameters(args), prepare=prepare)
            return [values.row(row) for row in await cursor.fetchall()] if cursor.description else []

    async def copy_records_to_table(
        self, table_name: str, *, schema_name: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]
    ) -> None:
        """See the base class."""
        statement = values.copy_statement(schema_name, table_name, columns)
        async with self._cursor() as cursor, cursor.copy(statement) as copy:
            for record in records:
                await copy.write_row(values.copied(record))

    def is_in_transaction(self) -> bool:
        """See the base class."""
        return not self._connection.autocommit or self._connection.info.transaction_status is not TransactionStatus.IDLE

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """See the base class."""
        return self._connection.transaction()

    def is_closed(self) -> bool:
        """See the base class."""
        return self._connection.closed


def adapted(tx: Any) -> AsyncPsycopg | None:
    """The adapter of what is given, if that is such a connection."""
    return AsyncPsycopg(tx) if isinstance(tx, psycopg.AsyncConnection) else None
