"""Heartbeats on the connection for outcomes while the listener's thread can write none.

Whose heartbeats end is dead to the others: its jobs are rescued, and run twice at once. A client of which only the listener
has no connection lives, and says so on another one. One that cannot say so at all claims nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from rivermill.db import DATABASE_ERRORS, SharedConnection
from rivermill.gate import Gate
from rivermill.heartbeat import ClientState, Heartbeat, Vitals

#: Intervals between heartbeats after which one is late.
LATE = 1.5
#: Looks at that in an interval.
_LOOKS = 5

logger = logging.getLogger("rivermill.runtime")


class StandIn:
    """Hears of all heartbeats, and writes those that are late.

    Args:
        shared: the connection for outcomes.
        heartbeat: the row to keep alive.
        vitals: what to report.
        gate: closed while the client is silent.
        interval: seconds between heartbeats.
        wanted: called with what this client shall do, after each heartbeat.
        opened: called when the client is silent no more.
    """

    def __init__(
        self,
        shared: SharedConnection,
        heartbeat: Heartbeat,
        vitals: Callable[[], Vitals],
        gate: Gate,
        interval: float,
        wanted: Callable[[ClientState], None],
        opened: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._heartbeat = heartbeat
        self._vitals = vitals
        self._gate = gate
        self._interval = interval
        self._wanted = wanted
        self._opened = opened

    def on_heartbeat(self, wanted: ClientState) -> None:
        """A heartbeat was written; on the event loop."""
        if self._gate.on_heartbeat(counts=self._heartbeat.enabled):
            logger.info("heartbeats are written again: the client claims jobs")
            self._opened()
        self._wanted(wanted)

    async def run(self) -> None:
        """Write late heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._interval / _LOOKS * random.uniform(1.0, 1.1))
            if self._gate.silent_seconds < LATE * self._interval:
                continue
            try:
                async with self._shared.acquire() as connection:
                    wanted = await self._heartbeat.beat(connection, self._vitals())
            except DATABASE_ERRORS as error:
                logger.warning("no heartbeat could be written", extra={"error": str(error)})
                continue
            logger.warning("the listener writes no heartbeats: the connection for outcomes does")
            self.on_heartbeat(wanted)
