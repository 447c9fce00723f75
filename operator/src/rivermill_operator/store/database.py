"""One database over one query connection: whoever asks while it is busy is served by the next round, all together."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg

from rivermill_operator.model.observed import SILENT_SECONDS, QueueProbe, ServerView, StoreView
from rivermill_operator.store import statements
from rivermill_operator.store.connection import DATABASE_ERRORS, connect, explain, identify
from rivermill_operator.store.port import StoreError
from rivermill_operator.store.reader import Asked, Reader

#: A round waits so long for the loops whose look falls on the same moment.
GATHER_SECONDS = 0.005
#: A notification has at most 8,000 bytes, and a client id up to 100 characters.
NOTIFIED_CLIENTS = 64

logger = logging.getLogger("rivermill.store")


@dataclass(frozen=True, slots=True)
class _Request:
    schema: str
    asked: Asked
    answer: asyncio.Future[StoreView]


class Database:
    """One database: the query connection, and the rounds in which it is read for all JobQueues.

    Args:
        dsn: where it is.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self._readers: dict[str, Reader] = {}
        self._requests: list[_Request] = []
        self._served: list[_Request] = []
        self._rounds: asyncio.Task[None] | None = None
        self._server = ServerView()
        self._closed = False
        #: The same for every URL of this database; None until it was read, and where the server does not say.
        self.identity: str | None = None

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Run one statement; raises StoreError."""
        async with self._lock:
            fresh = self._connection is None or self._connection.is_closed()
            if fresh:
                self._connection = await connect(self._dsn)
            try:
                if fresh:
                    self.identity = await identify(self._connection)
                rows: list[Any] = await self._connection.fetch(sql, *arguments)
                return rows
            except asyncio.CancelledError:
                self._connection.terminate()
                raise
            except DATABASE_ERRORS as error:
                if not isinstance(error, asyncpg.PostgresError):
                    self._connection.terminate()
                raise explain(error, self._dsn) from None

    async def observe(self, schema: str, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        """What one JobQueue wants to know, in the next round; raises StoreError."""
        if self._closed:
            raise StoreError("DatabaseUnreachable", "The database is no longer in use.")
        answer: asyncio.Future[StoreView] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(schema, Asked(tuple(probes), tuple(pod_uids)), answer))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._serve(), name="observe")
        return await answer

    async def close(self) -> None:
        """Close the connection; who still waits is refused."""
        self._closed = True
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        self._leave(StoreError("DatabaseUnreachable", "The database is no longer in use."))
        if self._connection is not None:
            self._connection.terminate()

    async def _serve(self) -> None:
        """Rounds until nobody waits."""
        try:
            while self._requests:
                await asyncio.sleep(GATHER_SECONDS)
                self._served, self._requests = self._requests, []
                await self._round([request for request in self._served if not request.answer.done()])
        except Exception as unforeseen:
            logger.exception("the observation failed")
            self._leave(unforeseen)
        self._rounds = None

    def _leave(self, error: Exception) -> None:
        """Nobody is left without an answer."""
        _refuse([*self._served, *self._requests], error)
        self._served, self._requests = [], []

    async def _round(self, requests: Sequence[_Request]) -> None:
        """Read each schema once for all who asked, and the server once for all schemas."""
        for schema in dict.fromkeys(request.schema for request in requests):
            group = [request for request in requests if request.schema == schema]
            reader = self._readers.setdefault(schema, Reader(schema))
            try:
                views = await reader.read(self.fetch, [request.asked for request in group])
                await self._read_server()
            except StoreError as error:
                lost = self._connection is None or self._connection.is_closed()
                # A database that is away is not asked again for the next schema.
                _refuse(requests if lost else group, error)
                if lost:
                    return
                continue
            for request, view in zip(group, views, strict=True):
                if not request.answer.done():
                    request.answer.set_result(replace(view, server=self._server))

    async def _read_server(self) -> None:
        try:
            (row,) = await self.fetch(statements.server_sql())
            self._server = ServerView(**row)
        except StoreError as error:
            if error.reason not in ("StatementTimeout", "PermissionDenied"):
                raise
            logger.warning("the server's figures cannot be read", extra={"reason": error.reason, "error": error.message})


def _refuse(requests: Sequence[_Request], error: Exception) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(error)


class PostgresStore:
    """``Store`` over one schema.

    Args:
        database: its connection.
        schema: a name that was checked.
    """

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema

    async def observe(self, probes: Sequence[QueueProbe], pod_uids: Sequence[str]) -> StoreView:
        """Depths of the queues, and the clients that run in these pods; raises StoreError."""
        return await self._database.observe(self._schema, probes, pod_uids)

    async def want(self, state: str, client_ids: Sequence[str]) -> None:
        """Tell clients what to do, a part of them after another; raises StoreError."""
        action = "cordon" if state == "cordoned" else "uncordon"
        channel = f"{self._schema}.rivermill_control"
        for first in range(0, len(client_ids), NOTIFIED_CLIENTS):
            told = list(client_ids[first : first + NOTIFIED_CLIENTS])
            payload = json.dumps({"action": action, "client_ids": told})
            await self._database.fetch(statements.want_sql(self._schema), state, told, channel, payload)

    async def bury(self, client_ids: Sequence[str]) -> None:
        """Declare clients dead whose pods are gone, unless they have been heard of again; raises StoreError."""
        silence = timedelta(seconds=SILENT_SECONDS)
        await self._database.fetch(statements.bury_sql(self._schema), list(client_ids), silence)
