"""Leader election over ``river_leader``. Mirrors River's ``internal/leadership/elector.go``.

A term is the pair (leader id, elected_at). The leader trusts its term for a second less than the row lives, counted from
before the statement that won or renewed it was sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from rivermill.db import DATABASE_ERRORS, Connection, SharedConnection
from rivermill.schema import Schema

#: Seconds after the statement's arrival, for the transaction that it is in may have begun before the term's trust counts.
_EXPIRES = "statement_timestamp() + make_interval(secs => {})"

logger = logging.getLogger("rivermill.leader")


@dataclass(frozen=True, slots=True)
class ElectionTimings:
    """Seconds; the defaults are River's."""

    interval: float = 5.0
    jitter: float = 1.0
    ttl: float = 15.0
    trust: float = 14.0


class Elector:
    """Bids for leadership, renews it, and resigns it.

    Args:
        shared: the connection for the statements.
        schema: where River's tables are.
        client_id: the id to lead under.
        on_change: called with True when leadership is won and with False when it is lost or resigned.
        timings: intervals.
    """

    def __init__(
        self,
        shared: SharedConnection,
        schema: Schema,
        client_id: str,
        on_change: Callable[[bool], None],
        timings: ElectionTimings,
    ) -> None:
        self._shared = shared
        self._schema = schema
        self._table = schema.table("river_leader")
        self._client_id = client_id
        self._on_change = on_change
        self._timings = timings
        self._term: datetime | None = None
        self._trusted_until = 0.0
        self._wake = asyncio.Event()
        self._resign_requested = False
        self._stand_back = False

    @property
    def leading(self) -> bool:
        """Whether this client is the leader."""
        return self._term is not None

    def notified(self, payload: str) -> None:
        """React to a notification on ``river_leadership``."""
        try:
            message = json.loads(payload)
            action, leader = message["action"], message.get("leader_id")
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("undecodable notification on river_leadership is ignored")
            return
        if action == "resigned" and leader != self._client_id:
            self._wake.set()
        elif action == "request_resign":
            self.request_resign()

    def request_resign(self, *, stand_back: bool = False) -> None:
        """Give up the present term, if there is one.

        Args:
            stand_back: let others win the next election; else this client bids again at once, as in River.
        """
        if self.leading:
            self._resign_requested = True
            self._stand_back = stand_back
            self._wake.set()

    async def run(self) -> None:
        """Take part in elections until cancelled, then resign."""
        try:
            while True:
                self._wake.clear()
                await self._step()
                await self._pause()
        finally:
            await asyncio.shield(self._resign())

    async def _step(self) -> None:
        if self._resign_requested:
            self._resign_requested = False
            await self._resign()
            if self._stand_back:
                self._stand_back = False
                return
        patience = self._trusted_until - time.monotonic() if self.leading else self._timings.trust
        try:
            # Others may hold the connection for longer than a term can be trusted.
            async with asyncio.timeout(max(0.0, patience)), self._shared.acquire() as connection:
                started = time.monotonic()
                term = await (self._renew(connection) if self.leading else self._elect(connection))
        except DATABASE_ERRORS as error:
            logger.warning("election statement failed", extra={"error": str(error)})
            if self.leading and time.monotonic() >= self._trusted_until - 1:
                self._lose()
            return
        if term is None:
            self._lose()
        else:
            self._trusted_until = started + self._timings.trust
            if not self.leading:
                self._term = term
                logger.info("leadership won")
                self._on_change(True)

    async def _pause(self) -> None:
        delay = self._timings.interval
        if self.leading:
            delay = min(delay, max(0.0, self._trusted_until - 1 - time.monotonic()))
        else:
            delay += random.uniform(0, self._timings.jitter)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()
            await asyncio.sleep(random.uniform(0, 0.05))

    async def _elect(self, connection: Connection) -> datetime | None:
        async with connection.transaction():
            await connection.execute(f"DELETE FROM {self._table} WHERE expires_at < now()")
            won: datetime | None = await connection.fetchval(
                f"INSERT INTO {self._table} (leader_id, elected_at, expires_at) "
                f"VALUES ($1, now(), {_EXPIRES.format('$2')}) "
                "ON CONFLICT (name) DO NOTHING RETURNING elected_at",
                self._client_id,
                self._timings.ttl,
            )
            return won

    async def _renew(self, connection: Connection) -> datetime | None:
        kept: datetime | None = await connection.fetchval(
            f"UPDATE {self._table} SET expires_at = {_EXPIRES.format('$3')} "
            "WHERE leader_id = $1 AND elected_at = $2 AND expires_at >= now() RETURNING elected_at",
            self._client_id,
            self._term,
            self._timings.ttl,
        )
        return kept

    def _lose(self) -> None:
        if self._term is not None:
            self._term = None
            logger.warning("leadership lost")
            self._on_change(False)

    async def _resign(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        self._on_change(False)
        sql = f"""
            WITH own AS (
                SELECT name FROM {self._table} WHERE leader_id = $1 AND elected_at = $2 FOR UPDATE
            ), gone AS (
                DELETE FROM {self._table} WHERE name IN (SELECT name FROM own) RETURNING name
            )
            SELECT pg_notify($3, $4) FROM gone
        """
        payload = json.dumps({"leader_id": self._client_id, "action": "resigned"})
        try:
            async with asyncio.timeout(5), self._shared.acquire() as connection:
                await connection.execute(sql, self._client_id, term, self._schema.channel("river_leadership"), payload)
            logger.info("leadership resigned")
        except DATABASE_ERRORS as error:
            logger.warning("could not resign; the term runs out by itself", extra={"error": str(error)})
