"""What comes and goes in one schema: jobs inserted and jobs completed since the last look, found by index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from rivermill_operator.model.observed import Finished
from rivermill_operator.store.statements import arrivals_sql, finished_sql, last_id_sql

Fetch = Callable[..., Awaitable[list[Any]]]

ARRIVALS_BOUND = 20_000
FINISHED_BOUND = 1_000


class Flow:
    """Sums by queue that only grow, shared by all JobQueues of the schema.

    Args:
        schema: a name that was checked.
    """

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._last_id: int | None = None
        self._last_end: datetime | None = None
        self.arrived: dict[str, int] = {}
        self.finished: dict[str, Finished] = {}

    async def read_arrivals(self, fetch: Fetch) -> None:
        """Count what was inserted; raises StoreError."""
        if self._last_id is None:
            self._last_id = (await fetch(last_id_sql(self._schema)))[0]["id"]
            return
        for row in await fetch(arrivals_sql(self._schema), self._last_id, ARRIVALS_BOUND):
            self.arrived[row["queue"]] = self.arrived.get(row["queue"], 0) + row["jobs"]
            self._last_id = max(self._last_id or 0, row["last_id"])

    async def read_finished(self, fetch: Fetch) -> None:
        """Add up how long what completed took; raises StoreError."""
        for row in await fetch(finished_sql(self._schema), self._last_end, FINISHED_BOUND):
            sums = self.finished.get(row["queue"], Finished())
            self.finished[row["queue"]] = Finished(
                sums.jobs + row["jobs"],
                sums.seconds + row["seconds"],
                sums.seconds_squared + row["squares"],
                max(sums.longest_seconds, row["longest"]),
            )
            self._last_end = max(self._last_end or row["last_end"], row["last_end"])
