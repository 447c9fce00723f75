"""The statements of one client's claims, on their connection: one for however many queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rivermill.claims import claim_many_sql, claim_sql, due_queues_sql, return_lost_sql
from rivermill.config import Settings
from rivermill.db import SharedConnection
from rivermill.limited_claim import LimitedClaim, LimitedClaims


class Fetcher:
    """Claims jobs; every method raises ``DATABASE_ERRORS``.

    Args:
        settings: the schema, who claims, and whether only known kinds are claimed.
        claim: the connection of its own for claims.
        kinds: the kinds with a worker.
    """

    def __init__(self, settings: Settings, claim: SharedConnection, kinds: Sequence[str]) -> None:
        known_kinds = settings.fetch_only_known_kinds
        self._claim = claim
        self._client_id = settings.client_id
        self._kinds = [list(kinds)] if known_kinds else []
        self._one_sql = claim_sql(settings.schema, known_kinds=known_kinds)
        self._many_sql = claim_many_sql(settings.schema, known_kinds=known_kinds)
        self._due_sql = due_queues_sql(settings.schema, known_kinds=known_kinds)
        self._return_lost_sql = return_lost_sql(settings.schema)
        self._limited = LimitedClaim(settings.schema, settings.client_id, kinds if known_kinds else None)

    async def fetch(self, wanted: Mapping[str, int], most: int, is_limited: Callable[[str], bool]) -> dict[str, list[Any]]:
        """Claim from queues without limits.

        Args:
            wanted: the most jobs of each queue; the queues are asked in this order until there are enough.
            most: the most of all.
            is_limited: whether a queue has got limits meanwhile, asked once there is a connection: that may take long.

        Returns:
            The jobs of each queue that had any.
        """
        async with self._claim.acquire() as connection:
            queues = [queue for queue in wanted if not is_limited(queue)]
            if not queues:
                return {}
            if len(queues) == 1:
                args = queues[0], min(wanted[queues[0]], most), self._client_id, *self._kinds
                records = await connection.fetch(self._one_sql, *args)
                return {queues[0]: records} if records else {}
            counts = [wanted[queue] for queue in queues]
            records = await connection.fetch(self._many_sql, queues, counts, self._client_id, most, *self._kinds)
        found: dict[str, list[Any]] = {}
        for record in records:
            found.setdefault(record["queue"], []).append(record)
        return found

    async def fetch_limited(self, queue: str, count: int) -> LimitedClaims:
        """Claim up to so many jobs of a limited queue."""
        async with self._claim.acquire() as connection:
            return await self._limited.fetch(connection, queue, count)

    async def due_queues(self, queues: Sequence[str]) -> set[str]:
        """Those of the queues in which jobs are due."""
        async with self._claim.acquire() as connection:
            return {row["queue"] for row in await connection.fetch(self._due_sql, queues, *self._kinds)}

    async def return_lost(self, known: Sequence[int]) -> int:
        """Give back what is claimed for this client beside the jobs that it knows of; returns how many."""
        async with self._claim.acquire() as connection:
            status: str = await connection.execute(self._return_lost_sql, self._client_id, known)
        return int(status.rpartition(" ")[2])
