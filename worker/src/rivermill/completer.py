"""Writes how attempts ended, in batches that clock themselves: the next goes out when the last has returned.

Small ones also keep a few milliseconds apart, since each costs a commit; the first after a pause goes out at once.
Mirrors River's ``internal/jobcompleter`` in effect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import chain

from rivermill.completion_writer import Batch, CompletionWriter
from rivermill.db import SharedConnection, back_off
from rivermill.job_events import JobEvents
from rivermill.metrics import Metrics
from rivermill.outcome import Completion
from rivermill.schema import Schema

MAX_BATCH = 5_000
MAX_BACKLOG = 10_000
#: A batch smaller than ``_GOOD_BATCH`` goes out no sooner than this after the one before: what ends meanwhile goes with it.
_GATHER_SECONDS = 0.005
_GOOD_BATCH = 500
#: Outcomes that fail by themselves are put off for longer and longer while one does in so many seconds.
_FORGET_SECONDS = 10.0


class Completer:
    """Batches completions of one client.

    Args:
        shared: the connection to write on.
        schema: where River's tables are.
        client_id: the fence.
        metrics: where batches are counted.
        events: told what was written, where anybody wants to know.
        on_flushed: called after each batch of which something was written.

    Attributes:
        full: whether jobs that end must hold their slots: see ``wait_for_room``.
    """

    def __init__(
        self,
        shared: SharedConnection,
        schema: Schema,
        client_id: str,
        metrics: Metrics,
        events: JobEvents,
        on_flushed: Callable[[], None],
    ) -> None:
        self._shared = shared
        self.events = events
        self._on_flushed = on_flushed
        self._writer = CompletionWriter(schema, client_id, metrics, events)
        self._waiting = Batch()
        self._writing = Batch()
        self._late = Batch()
        self._forgotten: set[int] = set()
        self._late_failures = 0
        self._failed_at = float("-inf")
        self._late_timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.full = False
        self._closing = False
        self._flushed_at = float("-inf")

    @property
    def backlog(self) -> int:
        """Completions that the database has not acknowledged."""
        return self.backlog_due + len(self._late)

    @property
    def backlog_due(self) -> int:
        """The same without those that failed by themselves and are put off."""
        return len(self._waiting) + len(self._writing)

    def job_ids(self) -> list[int]:
        """The jobs whose completions the database has not acknowledged, or refuses."""
        batches = (self._waiting, self._writing, self._late)
        return [*chain.from_iterable(batch.job_ids() for batch in batches), *self._writer.refused]

    async def wait_for_room(self) -> None:
        """Wait while the backlog is full."""
        while not self._room.is_set():
            await self._room.wait()

    def succeeded(self, job_id: int, ended_at: float) -> None:
        """Take a success with nothing else to write, whatever the backlog; it ended at these monotonic seconds."""
        plain = self._waiting.plain
        plain[job_id] = ended_at
        if len(plain) == 1 or len(plain) >= MAX_BACKLOG:
            self._taken()

    def add(self, completion: Completion) -> None:
        """Take a completion, whatever the backlog."""
        if completion.plain:
            self._waiting.plain[completion.job_id] = completion.ended_at
        else:
            self._waiting.general.append(completion)
        self._taken()

    def forget(self, job_id: int) -> None:
        """A job that others took for lost begins here once more: a success of it that is still unwritten counts for nothing.

        No other outcome needs that: they have the time of their claim, and are not written over another's.
        """
        for batch in (self._waiting, self._late):
            batch.plain.pop(job_id, None)
        if job_id in self._writing.plain:
            self._forgotten.add(job_id)  # it is on its way, and may come back

    def _taken(self) -> None:
        self._wake.set()
        if len(self._waiting) + len(self._late) >= MAX_BACKLOG:
            self._room.clear()
            self.full = True

    def close(self) -> None:
        """Let ``run`` return once everything taken so far is written."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write batches until closed. What could not be written stays in the backlog and is tried again."""
        failures = 0
        try:
            while not (self._closing and not self.backlog):
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._gather()
                    failures = 0 if await self._flush() else failures + 1
                    if failures:
                        await asyncio.sleep(back_off(failures))
        finally:
            if self._late_timer is not None:
                self._late_timer.cancel()

    async def _gather(self) -> None:
        delay = self._flushed_at + _GATHER_SECONDS - time.monotonic()
        if delay > 0 and len(self._waiting) < _GOOD_BATCH:
            await asyncio.sleep(delay)
        self._flushed_at = time.monotonic()

    async def _flush(self) -> bool:
        """Write a batch; returns whether the next may go out at once: something was written, or nothing is left untried."""
        batch = self._writing = self._waiting.take(MAX_BATCH)
        try:
            written = await self._writer.write(self._shared, batch, self._late)
        finally:
            # Nothing is left of what was written; the rest is tried again, and last.
            self._writing = Batch()
            for job_id in self._forgotten:
                batch.plain.pop(job_id, None)
                self._late.plain.pop(job_id, None)
            self._forgotten.clear()
            self._waiting.add(batch)
        self._put_off()
        if self.backlog < MAX_BACKLOG // 2:
            self._room.set()
            self.full = False
        if written:
            self._on_flushed()
        return bool(written) or not batch

    def _put_off(self) -> None:
        """What fails by itself may do so for ever, and holds up no other: it is tried again at times of its own."""
        if not self._late or self._late_timer is not None:
            return
        before, self._failed_at = self._failed_at, time.monotonic()
        self._late_failures = self._late_failures + 1 if self._failed_at - before < _FORGET_SECONDS else 1
        self._late_timer = asyncio.get_running_loop().call_later(back_off(self._late_failures), self._bring_back)

    def _bring_back(self) -> None:
        self._late_timer = None
        self._waiting.add(self._late)
        self._late.clear()
        self._wake.set()
