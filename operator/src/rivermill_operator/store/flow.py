"""What comes and goes in one schema: jobs inserted and jobs completed since the last look, found by index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from rivermill_operator.model.observed import Finished

Fetch = Callable[..., Awaitable[list[Any]]]

ARRIVALS_BOUND = 20_000
FINISHED_BOUND = 1_000


class Flow:
    """Sums by queue that only grow, shared by all JobQueues of the schema.

    Args:
        schema: a name that was checked.
    """

    def __init__(self, schema: str) -> None:
        self._job = f'"{schema}".river_job'
        self._last_id: int | None = None
        self._last_end: datetime | None = None
        self.arrived: dict[str, int] = {}
        self.finished: dict[str, Finished] = {}

    async def read(self, fetch: Fetch) -> None:
        """Look at what is new; raises StoreError."""
        if self._last_id is None:
            self._last_id = (await fetch(f"SELECT coalesce(max(id), 0) AS id FROM {self._job}"))[0]["id"]
        else:
            for row in await fetch(arrivals_sql(self._job), self._last_id, ARRIVALS_BOUND):
                self.arrived[row["queue"]] = self.arrived.get(row["queue"], 0) + row["jobs"]
                self._last_id = max(self._last_id or 0, row["last_id"])
        for row in await fetch(finished_sql(self._job), self._last_end, FINISHED_BOUND):
            sums = self.finished.get(row["queue"], Finished())
            self.finished[row["queue"]] = Finished(
                sums.jobs + row["jobs"], sums.seconds + row["seconds"], sums.seconds_squared + row["squares"]
            )
            self._last_end = max(self._last_end or row["last_end"], row["last_end"])


def arrivals_sql(job: str) -> str:
    """``$1`` the last id seen, ``$2`` how many rows to look at; a job for later is no arrival yet, it is looked ahead to."""
    return f"""
        SELECT queue, count(*) FILTER (WHERE scheduled_at <= created_at + interval '5 seconds')::int AS jobs, max(id) AS last_id
        FROM (SELECT id, queue, scheduled_at, created_at FROM {job} WHERE id > $1 ORDER BY id LIMIT $2) AS new
        GROUP BY queue
    """


def finished_sql(job: str) -> str:
    """``$1`` the last end seen or NULL, ``$2`` how many of the newest rows to look at.

    ``IS NOT NULL`` looks redundant; without it the planner does not see the partial index.
    """
    return f"""
        SELECT queue, count(*)::int AS jobs, sum(seconds)::float8 AS seconds, sum(seconds * seconds)::float8 AS squares,
            max(finalized_at) AS last_end
        FROM (
            SELECT queue, finalized_at, greatest(0, extract(epoch FROM finalized_at - attempted_at)) AS seconds
            FROM {job}
            WHERE state = 'completed' AND finalized_at IS NOT NULL
                AND finalized_at > coalesce($1::timestamptz, '-infinity') AND attempted_at IS NOT NULL
            ORDER BY finalized_at DESC LIMIT $2) AS newest
        GROUP BY queue
    """
