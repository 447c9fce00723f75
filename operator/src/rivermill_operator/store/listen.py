"""One LISTEN connection a database: wakes the loops whose queues got jobs or whose workers changed state."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

from rivermill_operator.store.connection import DATABASE_ERRORS, connect
from rivermill_operator.store.port import REFUSED, StoreError

_CHECK_SECONDS = 10.0
#: The first to connect after an outage lets everybody look; what a person has to mend is tried less often.
_MAX_BACKOFF, _MAX_REFUSED_BACKOFF = 3.0, 30.0

logger = logging.getLogger("rivermill.store.listen")


class Listener:
    """Listens to the schemas of one database.

    Args:
        dsn: where it is.
        wake: called with (schema, queue), or (schema, None) when every JobQueue of the schema shall look.
    """

    def __init__(self, dsn: str, wake: Callable[[str, str | None], None]) -> None:
        self._dsn = dsn
        self._wake = wake
        self._schemas: set[str] = set()
        self._changed = asyncio.Event()

    def add(self, schema: str) -> None:
        """Listen to one more schema."""
        if schema not in self._schemas:
            self._schemas.add(schema)
            self._changed.set()

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made anew, and everybody looks once."""
        failures = 0
        while True:
            refused = False
            try:
                await self._session()
            except StoreError as error:
                failures += 1
                refused = error.reason in REFUSED
                logger.warning("cannot listen", extra={"reason": error.reason, "error": error.message})
            except DATABASE_ERRORS as error:
                failures = 0
                logger.warning("listening was interrupted", extra={"error": str(error)})
            await asyncio.sleep(back_off(failures, refused=refused) * random.uniform(0.5, 1.0))

    async def _session(self) -> None:
        connection = await connect(self._dsn)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        heard: set[str] = set()
        try:
            while not lost.is_set():
                self._changed.clear()
                for schema in sorted(self._schemas):
                    # A repeated LISTEN changes nothing, and fails when the connection is dead.
                    for topic in ("river_insert", "rivermill_control"):
                        channel = f"{schema}.{topic}"
                        if channel not in heard:
                            await connection.add_listener(channel, self._notified)
                            heard.add(channel)
                            self._wake(schema, None)
                        else:
                            await connection.execute(f'LISTEN "{channel}"')
                try:
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await _either(lost, self._changed)
                except TimeoutError:
                    continue
            raise OSError("the server closed the connection")
        finally:
            connection.terminate()

    def _notified(self, _: Any, __: int, channel: str, payload: Any) -> None:
        schema, _, topic = channel.partition(".")
        queue = None
        if topic == "river_insert":
            try:
                queue = json.loads(payload).get("queue")
            except (ValueError, AttributeError):
                logger.warning("undecodable notification", extra={"channel": channel})
        self._wake(schema, queue if isinstance(queue, str) else None)


def back_off(failures: int, *, refused: bool) -> float:
    """The longest pause in seconds after so many failures in a row."""
    return float(min(_MAX_REFUSED_BACKOFF if refused else _MAX_BACKOFF, 0.5 * 2 ** min(failures, 10)))


async def _either(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
