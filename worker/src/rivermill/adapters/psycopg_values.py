"""What asyncpg and psycopg take and give for the same value of Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg
from psycopg import AsyncRawCursor, RawCursor, sql
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader

CursorT = TypeVar("CursorT", RawCursor[dict[str, Any]], AsyncRawCursor[dict[str, Any]])
_INFINITE = {b"infinity": datetime.max.replace(tzinfo=UTC), b"-infinity": datetime.min.replace(tzinfo=UTC)}


class _Times(TimestamptzLoader):
    """Reads infinite times, too, as asyncpg does."""

    def load(self, data: Buffer) -> datetime:
        infinite = _INFINITE.get(bytes(data))
        return super().load(data) if infinite is None else infinite


def reading(cursor: CursorT) -> CursorT:
    """The cursor, which reads what asyncpg does."""
    cursor.adapters.register_loader("timestamptz", _Times)
    return cursor


def parameters(args: Iterable[Any]) -> list[Any]:
    """Parameters as psycopg takes them: it would send a tuple as a row, and asyncpg sends Python's last time as infinity."""
    return [_parameter(arg) for arg in args]


def _parameter(arg: Any) -> Any:
    if isinstance(arg, tuple):
        return list(arg)
    infinite = [text for text, time in _INFINITE.items() if isinstance(arg, datetime) and arg == time]
    return infinite[0].decode() if infinite else arg


def row(values: dict[str, Any]) -> dict[str, Any]:
    """A row as asyncpg gives it, times in UTC."""
    return {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in values.items()}


def copied(record: Iterable[Any]) -> list[Any]:
    """A row to copy."""
    return [value.as_string().replace(" ", "") if isinstance(value, asyncpg.BitString) else value for value in record]


def copy_statement(schema: str, table: str, columns: Sequence[str]) -> sql.Composed:
    """``COPY`` of these columns from the client."""
    return sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(schema, table), sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    )
