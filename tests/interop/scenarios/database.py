"""What the scenarios see and do in the database itself, beside both implementations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from rivermill.db import Connection
from rivermill.schema import Schema

_MARKER = "heard_so_far"
_HEAR_SECONDS = 10.0
_TIMES = ("attempted_at", "created_at", "finalized_at", "scheduled_at")


async def raw_rows(connection: Connection, schema: Schema) -> list[dict[str, Any]]:
    """Every row of ``river_job`` by id, JSON decoded without loss, everything else as Postgres has it."""
    sql = f"""
        SELECT id, state::text, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at, priority,
            args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags, unique_key, unique_states::text
        FROM {schema.table("river_job")} ORDER BY id"""
    return [_decoded(dict(record)) for record in await connection.fetch(sql)]


async def raw_row(connection: Connection, schema: Schema, job_id: int) -> dict[str, Any]:
    """One of them."""
    (row,) = [row for row in await raw_rows(connection, schema) if row["id"] == job_id]
    return row


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("args", "metadata"):
        row[name] = json.loads(row[name], parse_float=Decimal)
    if row["errors"] is not None:
        row["errors"] = [json.loads(text, parse_float=Decimal) for text in row["errors"]]
    return row


def timeless(row: dict[str, Any], *, grain: float = 2.0) -> dict[str, Any]:
    """A row whose times are counted from its creation, in steps of ``grain`` seconds, and whose client is nobody."""
    start, result = row["created_at"], dict(row)
    for name in _TIMES:
        result[name] = _steps(row[name], start, grain)
    if row["attempted_by"] is not None:
        result["attempted_by"] = len(row["attempted_by"])
    if row["errors"] is not None:
        result["errors"] = [e | {"at": _steps(datetime.fromisoformat(e["at"]), start, grain)} for e in row["errors"]]
    if "cancel_attempted_at" in row["metadata"]:
        at = datetime.fromisoformat(row["metadata"]["cancel_attempted_at"])
        result["metadata"] = row["metadata"] | {"cancel_attempted_at": _steps(at, start, grain)}
    return result


def _steps(at: datetime | None, start: datetime, grain: float) -> int | None:
    return None if at is None else round((at - start).total_seconds() / grain)


async def lock_waits(connection: Connection, application: str) -> int:
    """How many statements of a process wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
    return int(await connection.fetchval(sql, application))


async def connections(connection: Connection, application: str) -> int:
    """How many connections a process has."""
    return int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", application))


class Ear:
    """Hears what is notified in a schema.

    Args:
        connection: to listen on.
        schema: whose channels.
        topics: which of them.
    """

    def __init__(self, connection: Connection, schema: Schema, topics: Iterable[str]) -> None:
        self._connection = connection
        self._schema = schema
        self._topics = (*topics, _MARKER)
        self._heard: list[tuple[str, Any]] = []
        self._up_to_date = asyncio.Event()

    async def __aenter__(self) -> Self:
        for topic in self._topics:
            await self._connection.add_listener(self._schema.channel(topic), self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        for topic in self._topics:
            await self._connection.remove_listener(self._schema.channel(topic), self._hear)

    def _hear(self, _: Connection, __: int, channel: str, payload: object) -> None:
        topic = channel.removeprefix(self._schema.channel(""))
        if topic == _MARKER:
            self._up_to_date.set()
        else:
            self._heard.append((topic, json.loads(str(payload))))

    async def heard(self) -> list[tuple[str, Any]]:
        """What was notified since the last call, by all that is committed now, in its order."""
        await self._connection.execute("SELECT pg_notify($1, 'null')", self._schema.channel(_MARKER))
        async with asyncio.timeout(_HEAR_SECONDS):
            await self._up_to_date.wait()
        self._up_to_date.clear()
        heard, self._heard = self._heard, []
        return heard


async def leader(connection: Connection, schema: Schema) -> tuple[str, datetime] | None:
    """Who leads, and since when."""
    row = await connection.fetchrow(f"SELECT leader_id, elected_at FROM {schema.table('river_leader')}")
    return None if row is None else (row["leader_id"], row["elected_at"])
