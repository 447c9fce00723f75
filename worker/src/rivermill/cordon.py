"""Stops and resumes claiming as the client's row asks, and reports when nothing is left to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rivermill.completer import Completer
from rivermill.executor import Executor
from rivermill.heartbeat import ClientState
from rivermill.producer import Producer

logger = logging.getLogger("rivermill.cordon")


class Cordon:
    """The state of one client: accepting, cordoned or drained.

    Args:
        producer: claims.
        executor: runs jobs.
        completer: writes their outcomes.
        on_change: called after each change of ``state``.
    """

    def __init__(self, producer: Producer, executor: Executor, completer: Completer, on_change: Callable[[], None]) -> None:
        self._producer = producer
        self._executor = executor
        self._completer = completer
        self._on_change = on_change
        self._wanted = ClientState.ACCEPTING
        self._wake = asyncio.Event()
        self.state = ClientState.ACCEPTING

    def want(self, wanted: ClientState) -> None:
        """Do as the row asks."""
        if wanted is not self._wanted:
            self._wanted = wanted
            self._wake.set()

    def check(self) -> None:
        """A job has ended or an outcome was written: there may be nothing left."""
        self._wake.set()

    async def run(self) -> None:
        """Follow what is wanted until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._wanted is ClientState.ACCEPTING and self.state is not ClientState.ACCEPTING:
                self._producer.uncordon()
                self._change(ClientState.ACCEPTING)
            elif self._wanted is ClientState.CORDONED and self.state is ClientState.ACCEPTING:
                await self._producer.cordon()
                self._change(ClientState.CORDONED)
            # Only now: what is running or unwritten could otherwise still be claimed.
            if self.state is ClientState.CORDONED and not self._executor.unfinished and not self._completer.backlog:
                self._change(ClientState.DRAINED)

    def _change(self, state: ClientState) -> None:
        self.state = state
        logger.info("client is %s", state.value)
        self._on_change()
