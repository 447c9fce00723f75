"""Queues as ``river_queue`` knows them: get, list, pause, resume, update. Mirrors the queue calls of River's ``client.go``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rivermill import gojson
from rivermill.db import Connection
from rivermill.errors import MigrationError, NotFoundError, ValidationError
from rivermill.joblist import MAX_LIST
from rivermill.jsonb import encode_object
from rivermill.limits import KEY, RATE_KEY, Concurrency, RateLimit
from rivermill.schema import Schema

ALL_QUEUES = "*"


@dataclass(frozen=True, slots=True)
class Queue:
    """One row of ``river_queue``; ``paused_at`` is set while no client may claim from it. Mirrors ``rivertype.Queue``."""

    name: str
    created_at: datetime
    metadata: Mapping[str, Any]
    paused_at: datetime | None
    updated_at: datetime


class QueueAdmin:
    """The statements over queues of one schema; each method takes the connection to run on."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._table = schema.table("river_queue")
        self._control = schema.channel("river_control")
        self._columns = "name, created_at, metadata::text AS metadata, paused_at, updated_at"

    async def get(self, connection: Connection, name: str) -> Queue:
        """One queue.

        Raises:
            NotFoundError: no client has ever worked a queue of this name, or not for a day.
        """
        sql = f"SELECT {self._columns} FROM {self._table} WHERE name = $1"
        record = await connection.fetchrow(sql, name)
        if record is None:
            raise self._missing(name)
        return _queue(record)

    async def list(self, connection: Connection, *, limit: int = 100, after: str = "") -> list[Queue]:
        """Queues by name, those after a name.

        Raises:
            ValidationError: ``limit`` is not within 1 to 10,000.
        """
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIST:
            raise ValidationError(f"limit {limit!r}: use 1 to {MAX_LIST}")
        sql = f"SELECT {self._columns} FROM {self._table} WHERE name > $2 ORDER BY name LIMIT $1"
        return [_queue(record) for record in await connection.fetch(sql, limit, after)]

    async def update(self, connection: Connection, name: str, metadata: Mapping[str, Any] | str) -> Queue:
        """Replace a queue's metadata and tell the clients.

        Raises:
            NotFoundError: there is no such queue.
            ValidationError: the metadata cannot be encoded as JSON.
        """
        text = encode_object("queue metadata", metadata)
        payload = f'{{"action":"metadata_changed","metadata":{text},"queue":{gojson.encode(name)}}}'
        sql = f"""
            WITH changed AS (
                UPDATE {self._table} SET metadata = $2::text::jsonb, updated_at = now() WHERE name = $1 RETURNING *
            ), told AS (
                SELECT count(pg_notify($3, $4)) FROM changed
            )
            SELECT {self._columns} FROM changed, told
        """
        record = await connection.fetchrow(sql, name, text, self._control, payload)
        if record is None:
            raise self._missing(name)
        return _queue(record)

    async def limit(self, connection: Connection, name: str, concurrency: Concurrency | None) -> Queue:
        """Set or remove a queue's concurrency limits in its metadata, and tell the clients.

        Raises:
            NotFoundError: there is no such queue.
        """
        return await self._set(connection, name, KEY, None if concurrency is None else concurrency.to_metadata())

    async def limit_rate(self, connection: Connection, name: str, rate: RateLimit | None) -> Queue:
        """Set or remove a queue's rate limit in its metadata, and tell the clients.

        Raises:
            MigrationError: there is no table for what has started.
            NotFoundError: there is no such queue.
        """
        table = self._schema.table("rivermill_rate")
        found = await connection.fetchrow("SELECT to_regclass($1) IS NOT NULL AS there", table)
        if rate is not None and not found["there"]:
            raise MigrationError(f"schema {self._schema.name} has no table rivermill_rate: run `rivermill migrate up` first")
        return await self._set(connection, name, RATE_KEY, None if rate is None else rate.to_metadata())

    async def _set(self, connection: Connection, name: str, key: str, value: Mapping[str, Any] | None) -> Queue:
        text = gojson.encode({} if value is None else {key: value})
        sql = f"""
            WITH changed AS (
                UPDATE {self._table} SET metadata = (metadata - $4::text) || $2::text::jsonb, updated_at = now()
                WHERE name = $1 RETURNING *
            ), told AS (
                SELECT count(pg_notify($3, json_build_object(
                    'action', 'metadata_changed', 'metadata', metadata, 'queue', name)::text)) FROM changed
            )
            SELECT {self._columns} FROM changed, told
        """
        record = await connection.fetchrow(sql, name, text, self._control, key)
        if record is None:
            raise self._missing(name)
        return _queue(record)

    async def pause(self, connection: Connection, name: str) -> None:
        """Stop every client's claims from a queue, or from all with ``*``; running jobs go on.

        Raises:
            NotFoundError: there is no such queue.
        """
        await self._set_paused(connection, name, "pause", "coalesce(paused_at, now())")

    async def resume(self, connection: Connection, name: str) -> None:
        """Let clients claim again from a queue, or from all with ``*``.

        Raises:
            NotFoundError: there is no such queue.
        """
        await self._set_paused(connection, name, "resume", "NULL")

    async def _set_paused(self, connection: Connection, name: str, action: str, value: str) -> None:
        # In the order in which clients report their queues, so that two writers never wait for each other in a circle.
        sql = f"""
            WITH locked AS (
                SELECT name FROM {self._table} WHERE $1 = '{ALL_QUEUES}' OR name = $1 ORDER BY name FOR UPDATE
            ), changed AS (
                UPDATE {self._table} AS queue SET
                    paused_at = {value},
                    updated_at = CASE WHEN (paused_at IS NULL) = ($3 = 'pause') THEN now() ELSE updated_at END
                FROM locked WHERE queue.name = locked.name
                RETURNING queue.name
            ), told AS (
                SELECT pg_notify($2, json_build_object('action', $3::text, 'queue', $1::text)::text)
                WHERE $1 = '{ALL_QUEUES}' OR EXISTS (SELECT 1 FROM changed)
            )
            SELECT (SELECT count(*) FROM changed) AS queues, (SELECT count(*) FROM told) AS told
        """
        record = await connection.fetchrow(sql, name, self._control, action)
        if not record["told"]:
            raise self._missing(name)

    def _missing(self, name: str) -> NotFoundError:
        return NotFoundError(f"queue {name!r}: there is no such queue in schema {self._schema.name}")


def _queue(record: Any) -> Queue:
    return Queue(
        name=record["name"],
        created_at=record["created_at"],
        metadata=json.loads(record["metadata"]),
        paused_at=record["paused_at"],
        updated_at=record["updated_at"],
    )
