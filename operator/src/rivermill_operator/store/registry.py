"""Connections by URL: one to query and one to listen, shared by all JobQueues of it and closed with the last.

Two URLs of one database have connections of their own, for each may have its own rights; that it is one is known all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rivermill_operator.store.database import Database, PostgresStore
from rivermill_operator.store.listen import Listener
from rivermill_operator.store.port import Usage

Key = tuple[str, str]


@dataclass(slots=True)
class _Shared:
    database: Database
    listener: Listener
    task: asyncio.Task[None]
    users: dict[Key, Usage] = field(default_factory=dict)


class Stores:
    """The databases in use.

    Args:
        wake: called with the key of a JobQueue that shall look.
    """

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._shared: dict[str, _Shared] = {}

    def use(self, key: Key, dsn: str, usage: Usage) -> PostgresStore:
        """The store of a JobQueue, which from now on is woken by notifications for its queues."""
        shared = self._shared.get(dsn)
        if shared is None or shared.users.get(key) != usage:
            self._forget(key, keep=dsn)
        if shared is None:
            listener = Listener(dsn, lambda s, q: self._notified(dsn, s, q))
            task = asyncio.create_task(listener.run(), name="listen")
            shared = self._shared[dsn] = _Shared(Database(dsn), listener, task)
        shared.users[key] = usage
        shared.listener.add(usage.schema)
        return PostgresStore(shared.database, usage.schema)

    def older_user(self, key: Key, dsn: str) -> tuple[Key, str] | None:
        """An older JobQueue that works one of the queues of this one, and which queue; equal ages go by name."""
        users = {other: usage for shared in self._same_database(dsn) for other, usage in shared.users.items()}
        mine = users.get(key)
        for other, usage in users.items():
            if mine is None or usage.schema != mine.schema or not (both := usage.queues & mine.queues):
                continue
            if (usage.created, other) < (mine.created, key):
                return other, min(both)
        return None

    def _same_database(self, dsn: str) -> Iterator[_Shared]:
        """Everything that is in use of the database that a URL leads to, by whatever URL."""
        mine = self._shared.get(dsn)
        for shared in self._shared.values():
            known = mine is not None and mine.database.identity is not None
            if shared is mine or (mine is not None and known and shared.database.identity == mine.database.identity):
                yield shared

    def release(self, key: Key) -> None:
        """A JobQueue is gone."""
        self._forget(key, keep=None)

    async def close(self) -> None:
        """Close everything."""
        for dsn in list(self._shared):
            await self._close(self._shared.pop(dsn))

    def _forget(self, key: Key, keep: str | None) -> None:
        for dsn, shared in list(self._shared.items()):
            shared.users.pop(key, None)
            if not shared.users and dsn != keep:
                self._shared.pop(dsn)
                shared.task.cancel()
                task = asyncio.create_task(self._close(shared), name="close database")
                _closing.add(task)
                task.add_done_callback(_closing.discard)

    @staticmethod
    async def _close(shared: _Shared) -> None:
        shared.task.cancel()
        await asyncio.gather(shared.task, return_exceptions=True)
        await shared.database.close()

    def _notified(self, dsn: str, schema: str, queue: str | None) -> None:
        shared = self._shared.get(dsn)
        for key, usage in (shared.users if shared else {}).items():
            if usage.schema == schema and (queue is None or queue in usage.queues):
                self._wake(key)


_closing: set[asyncio.Task[None]] = set()
