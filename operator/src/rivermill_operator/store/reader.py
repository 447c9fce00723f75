"""Reads one schema for all JobQueues that asked: every statement once, and less of it when the database is slow."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rivermill_operator.model.observed import ClientView, Finished, QueueDepth, QueueProbe, StoreView
from rivermill_operator.store import statements
from rivermill_operator.store.flow import Fetch, Flow
from rivermill_operator.store.port import StoreError

#: The oldest version of River's line that the statements work with.
MAIN_OLDEST = 6
VERSIONS_SECONDS = 15.0
#: A count that takes longer than so is made less deep; the least is enough to know that much waits.
SLOW_SECONDS, FAST_SECONDS = 0.05, 0.02
MOST_DEPTH, LEAST_DEPTH = 100_000, 1_001
_FIRST_REST, _LONGEST_REST = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What one JobQueue wants to know."""

    probes: tuple[QueueProbe, ...]
    pod_uids: tuple[str, ...]


@dataclass(slots=True)
class Rest:
    """A statement that timed out is left alone for a while, the longer the more often it did."""

    times: int = 0
    until: float = 0.0

    def timed_out(self, now: float) -> None:
        """It did so again."""
        self.until = now + min(_LONGEST_REST, _FIRST_REST * 2**self.times) * random.uniform(0.8, 1.2)
        self.times = min(self.times + 1, 10)


def adapt_depth(depth: int, seconds: float) -> int:
    """How deep to count next, after a count to ``depth`` took ``seconds``."""
    if seconds > SLOW_SECONDS:
        return max(LEAST_DEPTH, depth // 2)
    return min(MOST_DEPTH, depth * 2) if seconds < FAST_SECONDS else depth


@dataclass(slots=True)
class Reader:
    """Of one schema.

    Args:
        schema: a name that was checked.
    """

    schema: str
    flow: Flow = field(init=False)
    _checked_at: float | None = None
    _depth: int = MOST_DEPTH
    _known: dict[str, QueueDepth] = field(default_factory=dict)
    _rests: dict[str, Rest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flow = Flow(self.schema)

    async def read(self, fetch: Fetch, asked: Sequence[Asked]) -> list[StoreView]:
        """One view for each.

        Raises:
            StoreError: not even the oldest jobs, or not the clients, could be read.
        """
        await self._check_versions(fetch)
        late = [
            name
            for name, read in (("arrivals", self.flow.read_arrivals), ("durations", self.flow.read_finished))
            if not await self._in_time(name, read, fetch)
        ]
        depths: list[QueueDepth] = []
        probes = [probe for one in asked for probe in one.probes]

        async def read_depths(fetch: Fetch) -> None:
            depths.extend(await self._depths(fetch, probes))

        if not await self._in_time("depths", read_depths, fetch):
            late.append("depths")
            depths = await self._oldest(fetch, probes)
        clients = await self._clients(fetch, [uid for one in asked for uid in one.pod_uids])
        return self._share(asked, depths, clients, late)

    async def _in_time(self, name: str, read: Callable[[Fetch], Awaitable[None]], fetch: Fetch) -> bool:
        """Read a part that can be done without for a while; False when it timed out, now or lately."""
        rest = self._rests.setdefault(name, Rest())
        if time.monotonic() < rest.until:
            return False
        try:
            await read(fetch)
        except StoreError as error:
            if error.reason != "StatementTimeout":
                raise
            rest.timed_out(time.monotonic())
            return False
        rest.times = 0
        return True

    async def _check_versions(self, fetch: Fetch) -> None:
        if self._checked_at is not None and time.monotonic() - self._checked_at < VERSIONS_SECONDS:
            return
        rows = await fetch(statements.versions_sql(self.schema))
        versions = {row["line"]: row["version"] for row in rows}
        if versions.get("main", 0) < MAIN_OLDEST or versions.get("rivermill", 0) < 1:
            raise StoreError(
                "SchemaOutdated",
                f"Schema {self.schema} is at {versions or 'no version'}: "
                "run `rivermill migrate up` on it, or set database.migrate to Apply.",
            )
        self._checked_at = time.monotonic()

    async def _depths(self, fetch: Fetch, probes: Sequence[QueueProbe]) -> list[QueueDepth]:
        bounds = [min(probe.depth_bound, self._depth) for probe in probes]
        started = time.monotonic()
        rows = await fetch(
            statements.observe_sql(self.schema),
            [probe.name for probe in probes],
            [bound + 1 for bound in bounds],
            [probe.horizon_seconds for probe in probes],
        )
        self._depth = adapt_depth(self._depth, time.monotonic() - started)
        depths = []
        for row, bound in zip(rows, bounds, strict=True):
            depth = QueueDepth(**{**row, "waiting": min(row["waiting"], bound)}, bounded=row["waiting"] > bound)
            depths.append(self._flowing(depth))
            self._known[depth.name] = depth
        return depths

    async def _oldest(self, fetch: Fetch, probes: Sequence[QueueProbe]) -> list[QueueDepth]:
        """What was last known, with the oldest job of now."""
        depths = []
        for row in await fetch(statements.oldest_sql(self.schema), [probe.name for probe in probes]):
            known = self._known.get(row["name"], QueueDepth(row["name"]))
            oldest = row["oldest_seconds"]
            waiting = 0 if oldest is None else max(1, known.waiting)
            known = replace(known, waiting=waiting, bounded=waiting > 0, oldest_seconds=oldest)
            depths.append(self._flowing(known))
        return depths

    def _flowing(self, depth: QueueDepth) -> QueueDepth:
        flow = self.flow
        return replace(depth, arrived=flow.arrived.get(depth.name, 0), finished=flow.finished.get(depth.name, Finished()))

    async def _clients(self, fetch: Fetch, pod_uids: list[str]) -> dict[str, list[ClientView]]:
        clients: dict[str, list[ClientView]] = {}
        for row in await fetch(statements.clients_sql(self.schema), pod_uids) if pod_uids else ():
            clients.setdefault(row["pod_uid"], []).append(_client(row))
        return clients

    @staticmethod
    def _share(
        asked: Sequence[Asked], depths: Sequence[QueueDepth], clients: dict[str, list[ClientView]], late: Sequence[str]
    ) -> list[StoreView]:
        views, rest = [], iter(depths)
        for one in asked:
            own = tuple(client for uid in one.pod_uids for client in clients.get(uid, ()))
            views.append(StoreView(tuple(next(rest) for _ in one.probes), own, degraded=", ".join(late) or None))
        return views


def _client(row: Any) -> ClientView:
    # By name, not as a dict: thousands of these are made in a second.
    held: dict[str, int] = json.loads(row["queues"])
    return ClientView(
        client_id=row["client_id"],
        pod_uid=row["pod_uid"],
        state=row["state"],
        wanted_state=row["wanted_state"],
        slots=row["slots"],
        running=sum(held.values()),
        silent_seconds=row["silent_seconds"],
        running_by_queue=held,
        ended=row["ended"],
        failed=row["failed"],
    )
