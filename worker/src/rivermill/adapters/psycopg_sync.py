"""Statements on a psycopg ``Connection``, in threads: the loop of ``SyncClient`` has other callers' work to do as well."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import dict_row

from rivermill.adapters import psycopg_values as values
from rivermill.transactions import AdaptedConnection

ResultT = TypeVar("ResultT")

#: Seconds within which the server is told that nobody waits for a statement any more.
_CANCEL_SECONDS = 5.0


class SyncPsycopg(AdaptedConnection):
    """A connection of the caller's, who waits meanwhile."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """See the base class."""
        return await self._fetch(sql, args)

    async def fetch_unprepared(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """See the base class."""
        return await self._fetch(sql, args, prepare=False)

    async def _fetch(self, sql: str, args: Sequence[Any], prepare: bool | None = None) -> list[dict[str, Any]]:
        def run() -> list[dict[str, Any]]:
            with self._cursor() as cursor:
                with self._synchronised():
                    cursor.execute(sql.encode(), values.parameters(args), prepare=prepare)
                return [values.row(row) for row in cursor.fetchall()] if cursor.description else []

        return await self._in_thread(run)

    async def copy_records_to_table(
        self, table_name: str, *, schema_name: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]
    ) -> None:
        """See the base class."""
        statement = values.copy_statement(schema_name, table_name, columns)

        def run() -> None:
            with self._cursor() as cursor, cursor.copy(statement) as copy:
                for record in records:
                    copy.write_row(values.copied(record))

        await self._in_thread(run)

    def is_in_transaction(self) -> bool:
        """See the base class."""
        return not self._connection.autocommit or self._connection.info.transaction_status is not TransactionStatus.IDLE

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """See the base class."""
        transaction = self._connection.transaction()
        await self._in_thread(transaction.__enter__)
        try:
            yield
        finally:
            error = sys.exc_info()
            await self._in_thread(lambda: transaction.__exit__(*error))

    def is_closed(self) -> bool:
        """See the base class."""
        return self._connection.closed

    def _cursor(self) -> psycopg.RawCursor[dict[str, Any]]:
        return values.reading(psycopg.RawCursor(self._connection, row_factory=dict_row))

    def _synchronised(self) -> AbstractContextManager[Any]:
        """At its end results are there, also in a pipeline of the caller's."""
        piped = self._connection.info.pipeline_status is not PipelineStatus.OFF
        return self._connection.pipeline() if piped else nullcontext()

    async def _in_thread(self, call: Callable[[], ResultT]) -> ResultT:
        try:
            return await asyncio.to_thread(call)
        except asyncio.CancelledError:
            # The thread goes on until its statement ends, and the connection is of no use to its owner until then.
            await asyncio.to_thread(self._connection.cancel_safe, timeout=_CANCEL_SECONDS)
            raise


def adapted(tx: Any) -> SyncPsycopg | None:
    """The adapter of what is given, if that is such a connection."""
    return SyncPsycopg(tx) if isinstance(tx, psycopg.Connection) else None
