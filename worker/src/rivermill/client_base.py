"""What the parts of a client share: its settings, its connection and the statements it knows."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from rivermill.config import QueueConfig, load_settings
from rivermill.db import Connection, SharedConnection, told_to_callers
from rivermill.errors import ConfigError
from rivermill.insert import Inserter
from rivermill.jobs import JobAdmin
from rivermill.notify_limiter import NotifyLimiter
from rivermill.queues import QueueAdmin
from rivermill.transactions import LentConnection, Transaction, connection_of
from rivermill.waiting_calls import WaitingCalls
from rivermill.worker import Workers

ResultT = TypeVar("ResultT")


class ClientBase:
    """Base of the classes whose methods make up ``Client``; takes the arguments described there."""

    def __init__(
        self,
        dsn: str | None = None,
        *,
        workers: Workers | None = None,
        queues: Mapping[str, int | QueueConfig] | None = None,
        **settings: Any,
    ) -> None:
        if workers is not None and not isinstance(workers, Workers):
            raise ConfigError(f"workers {workers!r}: make an instance, workers = Workers(), and add each worker to it")
        self.settings = load_settings(dsn=dsn, queues=queues, **settings)
        self._extensions = self.settings.extensions
        self._workers = workers
        name = f"rivermill {self.settings.client_id}"[:63]
        self._shared = SharedConnection(self.settings.dsn, name, pooled=self.settings.transaction_pooler)
        own = SharedConnection(self.settings.dsn, name, pooled=self.settings.transaction_pooler)
        self._waiting_calls = WaitingCalls(self._shared, own)
        limiter = NotifyLimiter(self.settings.fetch_cooldown)
        self._inserter = Inserter(self.settings.schema, self.settings.max_attempts, limiter)
        self._jobs = JobAdmin(self.settings.schema)
        self._queues = QueueAdmin(self.settings.schema)

    @property
    def workers(self) -> Workers | None:
        """The kinds this client executes; None for one that only inserts and manages."""
        return self._workers

    def within(self, tx: Transaction) -> Self:
        """The same client inside the caller's transaction: all that is asked of it happens there.

        For code that takes a client or a ``JobQueue`` and knows nothing of transactions, and for tests. It is not to be
        started, and there is nothing to close.

        Args:
            tx: as for ``insert``.
        """
        bound = copy.copy(self)
        bound._shared = LentConnection(tx)  # noqa: SLF001 - its own
        bound._waiting_calls = WaitingCalls(bound._shared, None)  # noqa: SLF001
        return bound

    @asynccontextmanager
    async def _connection(self, tx: Transaction | None = None) -> AsyncIterator[Connection]:
        if tx is not None:
            yield await connection_of(tx)
        else:
            with told_to_callers():
                async with self._shared.acquire() as connection:
                    yield connection

    async def _wait_for(self, work: Callable[[Connection], Awaitable[ResultT]], tx: Transaction | None) -> ResultT:
        """Do what may wait for another transaction: it holds up nobody else, and may be begun twice."""
        if tx is not None:
            return await work(await connection_of(tx))
        with told_to_callers():
            return await self._waiting_calls.run(work)
