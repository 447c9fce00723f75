"""What the scenarios see and do in the database itself, beside both implementations."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from rivermill.db import Connection
from rivermill.schema import Schema

_MARKER = "heard_so_far"
_HEAR_SECONDS = 10.0
_GO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?(Z|[+-]\d\d:\d\d)", re.ASCII)
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


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A time of a row; equal to that of another if they are the same, or as far from their rows' creation but for ``within``.

    Attributes:
        at: the time.
        created_at: when its row was created.
        within: seconds.
    """

    at: datetime
    created_at: datetime
    within: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Moment):
            return False
        apart = (self.at - self.created_at) - (other.at - other.created_at)
        return self.at == other.at or abs(apart.total_seconds()) <= self.within

    __hash__ = None  # type: ignore[assignment]  # what is nearly equal has none


def timeless(row: dict[str, Any], *, within: float = 2.0) -> dict[str, Any]:
    """A row to compare with another's: its times are ``Moment``s, and its clients are counted."""
    start, result = row["created_at"], dict(row)

    def moment(at: datetime) -> Moment:
        return Moment(at, start, within)

    for name in _TIMES:
        if row[name] is not None:
            result[name] = moment(row[name])
    if row["attempted_by"] is not None:
        result["attempted_by"] = len(row["attempted_by"])
    if row["errors"] is not None:
        result["errors"] = [e | {"at": moment(_go_time(e["at"]))} for e in row["errors"]]
    if "cancel_attempted_at" in row["metadata"]:
        result["metadata"] = row["metadata"] | {"cancel_attempted_at": moment(_go_time(row["metadata"]["cancel_attempted_at"]))}
    return result


def _go_time(text: str) -> datetime:
    """A time in stored JSON, which must have the form that Go gives it: no zeros at the end of the fraction."""
    assert _GO_TIME.fullmatch(text), text
    return datetime.fromisoformat(text)


async def lock_waits(connection: Connection, application: str) -> int:
    """How many statements of a process wait for a lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
    return int(await connection.fetchval(sql, application))


async def connections(connection: Connection, application: str) -> int:
    """How many connections a process has."""
    return int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", application))


async def listener(connection: Connection, application: str) -> int | None:
    """The server process of the connection that a process listens on, once it does; as the suite finds it, too."""
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND query ILIKE 'listen %'"
    pid: int | None = await connection.fetchval(sql, application)
    return pid


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
