"""Begins and ends the work on single queues of a client that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rivermill.config import QueueConfig
from rivermill.executor import Executor
from rivermill.producer import Producer
from rivermill.queue_report import QueueReport


class RunningQueues:
    """Takes queues in and out of a running client.

    Args:
        report: makes the queue's row.
        producer: claims.
        executor: runs jobs.
        on_change: called after a change.
    """

    def __init__(self, report: QueueReport, producer: Producer, executor: Executor, on_change: Callable[[], None]) -> None:
        self._report = report
        self._producer = producer
        self._executor = executor
        self._on_change = on_change
        self._leaving: dict[str, asyncio.Event] = {}
        self._closed = False

    async def begin(self, name: str, config: QueueConfig) -> None:
        """Work a queue from now on.

        Raises:
            DatabaseUnavailableError: there is no connection.
        """
        row = await self._report.introduce(name)
        self._executor.add_queue(name, config.max_workers)
        self._producer.add_queue(name, config, paused=row["paused"])
        self._producer.set_limited(name, limited=row["limited"])
        self._on_change()

    async def end(self, name: str) -> None:
        """Stop claiming from a queue; returns once none of its jobs holds a slot, or the client has stopped."""
        ended = self._leaving.setdefault(name, asyncio.Event())
        self._executor.leave(name)
        await self._producer.leave(name)
        self.check()
        await ended.wait()
        if self._leaving.pop(name, None) is not None and not self._closed:
            self._producer.remove_queue(name)
            self._executor.remove_queue(name)
            self._on_change()

    def check(self) -> None:
        """A job has ended: it may have been the last of a queue that is to go."""
        for name, ended in self._leaving.items():
            if not self._executor.held_in(name):
                ended.set()

    def close(self) -> None:
        """The client stops: nobody needs to wait any more."""
        self._closed = True
        for ended in self._leaving.values():
            ended.set()
