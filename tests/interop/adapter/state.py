"""What one adapter process holds: clients that only manage, open transactions, barriers, and a working client."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from datetime import timedelta
from urllib.parse import quote, urlsplit

import asyncpg

from rivermill import Client
from rivermill.db import Connection
from tests.interop.adapter.params import Place
from tests.interop.adapter.rpc import NOT_FOUND, PARAMS, REFUSED, Failure
from tests.interop.adapter.runner import Runner

#: River's default, which also limits how often a queue is notified of inserts.
_FETCH_COOLDOWN = timedelta(milliseconds=100)


class State:
    """Everything that a request can refer to.

    Args:
        dsn: the database, whose ``options`` say the search path.
        application_name: what every connection carries.
    """

    def __init__(self, dsn: str, application_name: str) -> None:
        self.dsn = f"{dsn}{'&' if urlsplit(dsn).query else '?'}application_name={quote(application_name)}"
        self.runner: Runner | None = None
        self.barriers: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._clients: dict[str, Client] = {}
        self._transactions: dict[str, Connection] = {}
        self._schema = ""

    @classmethod
    def from_environment(cls) -> State:
        """What the harness has set."""
        return cls(os.environ["RIVER_CONFORMANCE_DATABASE_URL"], os.environ["RIVER_CONFORMANCE_APPLICATION_NAME"])

    async def schema(self, name: str) -> str:
        """The schema of this name, or the connection's own."""
        if not name and not self._schema:
            connection = await self.connect()
            try:
                self._schema = await connection.fetchval("SELECT current_schema()")
            finally:
                await connection.close()
        return name or self._schema

    async def connect(self) -> Connection:
        """A new connection."""
        return await asyncpg.connect(self.dsn, timeout=10)

    async def client(self, schema: str) -> Client:
        """The client that inserts into a schema and manages it."""
        name = await self.schema(schema)
        if name not in self._clients:
            self._clients[name] = Client(self.dsn, schema=name, fetch_cooldown=_FETCH_COOLDOWN)
        return self._clients[name]

    async def on(self, place: Place) -> tuple[Client, Connection | None]:
        """A client, and the transaction to run in, if one is named."""
        transaction = self.transaction(place.tx) if place.tx else None
        return await self.client(place.schema), transaction

    def transaction(self, name: str) -> Connection:
        """An open transaction's connection."""
        if name not in self._transactions:
            raise Failure(NOT_FOUND, f"transaction {name!r} is not open")
        return self._transactions[name]

    async def begin(self, name: str) -> None:
        """Open a transaction."""
        if not name:
            raise Failure(PARAMS, "tx must have a name")
        if name in self._transactions:
            raise Failure(REFUSED, f"transaction {name!r} is already open")
        connection = await self.connect()
        self._transactions[name] = connection
        await connection.execute("BEGIN")

    async def end(self, name: str, *, commit: bool) -> None:
        """Close a transaction; its name is free afterwards, whatever happens."""
        connection = self.transaction(name)
        del self._transactions[name]
        try:
            status = await connection.execute("COMMIT" if commit else "ROLLBACK")
        finally:
            await connection.close()
        if commit and status != "COMMIT":
            raise Failure(REFUSED, f"transaction {name!r} was rolled back, because a statement in it had failed")

    async def close(self) -> None:
        """Stop working, roll back what is open, and close every connection."""
        if self.runner is not None:
            await self.runner.stop(cancel=True)
        for name in list(self._transactions):
            await self.end(name, commit=False)
        for client in self._clients.values():
            await client.stop()
