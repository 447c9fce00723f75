"""Gives turns on in sequences whose job is over: at once for jobs that ended here, and for all others by looking.

Looking is what holds after a crash between the end of a job and the next turn, and for jobs that are finished by others: River
for Go, River UI, a rescue.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg

from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.sequences import Turns, key_in

#: Sequences of one transaction: few enough that others which end meanwhile do not wait long.
_BATCH = 100
#: Whoever has begun a sequence in a transaction that is still open is not waited for.
_LOCK_TIMEOUT = "500ms"
#: The same where it is known of one of a batch, and not of which.
_SHORT_LOCK_TIMEOUT = "10ms"
_FINISH_SECONDS = 5.0

logger = logging.getLogger("rivermill.sequences")


@dataclass(frozen=True, slots=True)
class SequencerTimings:
    """Seconds between two looks: of the leader, of others, and where there are no tables for sequences."""

    leading: float = 1.0
    following: float = 5.0
    missing: float = 60.0


class Sequencer:
    """Gives turns on for one client.

    Args:
        settings: the schema.
        shared: the connection for the statements.
        unwritten: jobs whose outcome is open or still to be written.
        leading: whether this client leads.
        fetch_soon: called with a queue that a job is due in.
        timings: intervals.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedConnection,
        unwritten: Callable[[], Iterable[int]],
        leading: Callable[[], bool],
        fetch_soon: Callable[[str], None],
        timings: SequencerTimings,
    ) -> None:
        self._shared = shared
        self._unwritten = unwritten
        self._leading = leading
        self._fetch_soon = fetch_soon
        self._timings = timings
        self._turns = Turns(settings.schema)
        self._claimed: dict[int, bytes] = {}
        self._ended: set[bytes] = set()
        self._wake = asyncio.Event()
        self._settling = asyncio.Lock()
        self._missing = False

    def claimed(self, records: Sequence[Any]) -> None:
        """Jobs were claimed: those of sequences are watched for their end."""
        for record in records:
            if (metadata := record["metadata"]) != "{}" and (key := key_in(metadata)) is not None:
                self._claimed[record["id"]] = key

    def flushed(self) -> None:
        """Outcomes were written."""
        if self._claimed:
            ended = self._claimed.keys() - set(self._unwritten())
            self._ended.update(self._claimed.pop(job_id) for job_id in ended)
            if self._ended:
                self._wake.set()

    async def run(self) -> None:
        """Give turns on until cancelled."""
        look_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= look_at:
                await self._guarded(self._look())
                look_at = time.monotonic() + self._interval() * random.uniform(1.0, 1.2)
            await self._settle()
            try:
                async with asyncio.timeout(max(0.0, look_at - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def finish(self) -> None:
        """Give on the turns of all jobs whose outcome was written, if the database lets it within a few seconds."""
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._settle()
        except TimeoutError:
            logger.warning("turns in sequences are left to others")

    async def _settle(self) -> None:
        async with self._settling:  # so that whoever finishes waits for what is under way
            self._wake.clear()
            ended, self._ended = self._ended, set()
            await self._guarded(self._advance(ended))

    def _interval(self) -> float:
        if self._missing:
            return self._timings.missing
        return self._timings.leading if self._leading() else self._timings.following

    async def _guarded(self, work: Awaitable[None]) -> None:
        """What fails is found again by the next look."""
        try:
            await work
        except asyncpg.UndefinedTableError:
            self._missing = True  # no job can be in a sequence, then
        except DATABASE_ERRORS as error:
            logger.warning("turns in sequences could not be given on", extra={"error": str(error)})

    async def _look(self) -> None:
        async with self._shared.acquire() as connection:
            over, idle = await self._turns.find(connection)
        self._missing = False
        await self._advance(over)
        for keys in _batches(idle):
            await self._guarded(self._begin(keys))

    async def _begin(self, keys: Sequence[bytes]) -> None:
        try:
            await self._begin_at_once(keys, _LOCK_TIMEOUT)
        except asyncpg.LockNotAvailableError:
            for key in keys:
                # The transaction that holds this one up begins it, or a later look does; none of the others waits for that.
                with suppress(asyncpg.LockNotAvailableError):
                    await self._begin_at_once([key], _SHORT_LOCK_TIMEOUT)

    async def _begin_at_once(self, keys: Sequence[bytes], lock_timeout: str) -> None:
        async with self._shared.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{lock_timeout}'")
            await self._turns.begin(connection, keys)

    async def _advance(self, keys: Iterable[bytes]) -> None:
        for batch in _batches(sorted(keys)):
            async with self._shared.acquire() as connection:
                queues = await self._turns.advance(connection, batch)
            for queue in queues:
                self._fetch_soon(queue)


def _batches(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]
