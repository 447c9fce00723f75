"""LISTEN, heartbeat and connection check, on a thread with an event loop of its own; without LISTEN in poll-only mode.

A blocked main loop can so neither fake this client's death nor miss that the connection is gone. The check is a repeated
plain LISTEN, which changes nothing and leaves ``pg_stat_activity`` saying what the connection is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rivermill.config import Settings
from rivermill.config_sources import named
from rivermill.db import DATABASE_ERRORS, Connection, back_off, connect, pinned
from rivermill.errors import ConfigError, DatabaseUnavailableError
from rivermill.heartbeat import ClientState, Heartbeat, Vitals
from rivermill.login import Login
from rivermill.loop_watch import watch_loop
from rivermill.metrics import Metrics
from rivermill.stand_in import LATE

logger = logging.getLogger("rivermill.notify")


@dataclass(frozen=True, slots=True)
class ListenerTimings:
    """Seconds between heartbeats, between connection checks, and the longest time a check may take.

    ``refused``: for so long a login that worked before may be refused.
    ``silence``: after so long without a heartbeat nothing is claimed: a leader takes the client for dead a little later.
    """

    heartbeat: float = 10.0
    check: float = 5.0
    timeout: float = 10.0
    refused: float = 30.0
    silence: float = 20.0


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the listener calls, on the main loop where nothing else is said.

    Attributes:
        topics: topic (without the schema) → what to call with a payload.
        connected: called after each connect: notifications may have been missed.
        wanted: called with what this client shall do, after each heartbeat.
        died: called when the thread has ended by a bug, or for its login is refused: nobody says any more that this client
            lives.
        vitals: called on the listener's thread, so it may only read plain values.
        working: likewise; id and kind of the jobs whose steps the main loop is in.
    """

    topics: Mapping[str, Callable[[str], None]]
    connected: Callable[[], None]
    wanted: Callable[[ClientState], None]
    died: Callable[[Exception], None]
    vitals: Callable[[], Vitals]
    working: Callable[[], Sequence[tuple[int, str]]]


class Listener:
    """The listener thread of one client.

    Args:
        settings: where to connect, and whether to listen there.
        application_name: what ``pg_stat_activity`` shows.
        heartbeat: the row to keep alive.
        callbacks: what to call.
        metrics: reconnects and loop lag.
        timings: intervals.
    """

    def __init__(
        self,
        settings: Settings,
        application_name: str,
        heartbeat: Heartbeat,
        callbacks: Callbacks,
        metrics: Metrics,
        timings: ListenerTimings,
    ) -> None:
        self._dsn = settings.listener_dsn or settings.dsn
        self._own_dsn = settings.listener_dsn is not None
        self._pooled = settings.transaction_pooler and settings.listener_dsn is None
        self._listens = not settings.poll_only
        self._application_name = application_name
        self._schema = settings.schema
        self._heartbeat = heartbeat
        self._callbacks = callbacks
        self._metrics = metrics
        self._timings = timings
        self._main: asyncio.AbstractEventLoop | None = None
        self._main_thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat_now = asyncio.Event()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._lost: asyncio.Event | None = None
        self._steady_since = self._beat_at = float("inf")
        self._login = Login()
        self._leave = True
        self.healthy = False

    @property
    def steady_seconds(self) -> float:
        """For how long every heartbeat could be written when it was due: so long could every living client write its own."""
        now = time.monotonic()
        steady = self.healthy and now - self._beat_at <= LATE * self._timings.heartbeat
        return max(0.0, now - self._steady_since) if steady else 0.0

    async def start(self) -> None:
        """Start the thread; returns once it listens and the client's row is written.

        Raises:
            ConfigError: the DSN cannot be read.
            DatabaseUnavailableError: the first connection failed.
        """
        self._main, self._loop = asyncio.get_running_loop(), asyncio.new_event_loop()
        self._main_thread = threading.get_ident()
        ready: asyncio.Future[None] = self._main.create_future()
        self._thread = threading.Thread(
            target=self._run_thread, args=(self._loop, ready), name="rivermill-listener", daemon=True
        )
        self._thread.start()
        await ready

    async def stop(self, *, leave: bool = True) -> None:
        """Delete the client's row, close the connection and end the thread.

        Args:
            leave: False keeps the row, for jobs that still run or whose outcome was not written: once it is silent, they are
                rescued.
        """
        self._leave = leave
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(thread.join, self._timings.timeout + 5)

    def beat(self) -> None:
        """Write a heartbeat now: something it reports has changed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._beat_now.set)

    # --- below: on the listener's thread ---

    def _run_thread(self, loop: asyncio.AbstractEventLoop, ready: asyncio.Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._run(ready))
        except Exception as error:  # noqa: BLE001 - whatever it is, the main loop must hear of it
            self._call_main(self._on_death, ready, error)

    def _on_death(self, ready: asyncio.Future[None], error: Exception) -> None:
        """On the main loop: whoever waits for the start gets the error, else the client does."""
        if ready.done():
            self._callbacks.died(error)
        else:
            ready.set_exception(error)

    def _call_main(self, function: Callable[..., None], *args: object) -> None:
        if self._main is not None and not self._main.is_closed():
            self._main.call_soon_threadsafe(function, *args)

    async def _run(self, ready: asyncio.Future[None]) -> None:
        assert self._main is not None
        watching = watch_loop(self._main, self._main_thread, self._metrics.loop_lag, self._callbacks.working)
        lag = asyncio.create_task(watching, name="loop watch")
        failures, first = 0, True
        try:
            while not self._stop.is_set():
                try:
                    await self._session(ready if first else None)
                    return
                except DATABASE_ERRORS as error:
                    self.healthy = False
                    if first and not ready.done():
                        self._call_main(_fail, ready, error)
                        return
                    failures = 0 if self._was_up else failures + 1
                    self._metrics.reconnects.inc()
                    logger.warning("listener lost its connection", extra={"error": str(error)})
                    # A new process reads the password anew. By then others take this client for dead, and its jobs from it.
                    self._login.check(self._timings.refused)
                first = False
                await _wait(self._stop, back_off(failures))
        finally:
            lag.cancel()

    _was_up = False

    async def _session(self, ready: asyncio.Future[None] | None) -> None:
        """One connection's life; returns when the listener is to stop, raises when the connection is lost."""
        self._was_up = False
        with self._login.attempt():
            connection = await self._connect()
        try:
            self._lost = asyncio.Event()
            connection.add_termination_listener(self._on_terminated)
            for topic in self._callbacks.topics if self._listens else ():
                await connection.add_listener(self._schema.channel(topic), self._on_notification)
            await self._beat(connection)
            self._was_up = self.healthy = True
            self._call_main(self._callbacks.connected)
            if ready is not None:
                self._call_main(_succeed, ready)
            await self._keep(connection)
            if self._leave:
                async with pinned(connection, pooled=self._pooled):
                    await self._heartbeat.leave(connection)
        finally:
            self.healthy = False
            connection.remove_termination_listener(self._on_terminated)
            try:
                await connection.close(timeout=2)
            except DATABASE_ERRORS:
                connection.terminate()

    async def _connect(self) -> Connection:
        try:
            return await connect(self._dsn, application_name=self._application_name, pooled=self._pooled)
        except ConfigError as error:
            if not self._own_dsn:
                raise
            raise ConfigError(f"{named('listener_dsn')}: {error}") from None

    async def _keep(self, connection: Connection) -> None:
        assert self._lost is not None
        next_beat = time.monotonic() + self._timings.heartbeat
        while not self._stop.is_set():
            await _first(self._stop, self._beat_now, self._lost, timeout=min(self._timings.check, next_beat - time.monotonic()))
            if self._lost.is_set():
                raise DatabaseUnavailableError("the server closed the listener's connection")
            if self._beat_now.is_set() or time.monotonic() >= next_beat:
                self._beat_now.clear()
                await self._beat(connection)
                next_beat = time.monotonic() + self._timings.heartbeat
            elif not self._stop.is_set():
                await self._check(connection)

    async def _check(self, connection: Connection) -> None:
        statement = f'LISTEN "{self._schema.channel("river_insert")}"' if self._listens else "SELECT 1"
        await connection.execute(statement, timeout=self._timings.timeout)

    async def _beat(self, connection: Connection) -> None:
        async with asyncio.timeout(self._timings.timeout), pinned(connection, pooled=self._pooled):
            wanted = await self._heartbeat.beat(connection, self._callbacks.vitals())
        if self._listens:
            await self._check(connection)  # so that the last statement tells what the connection is for
        now = time.monotonic()
        if not self.healthy or now - self._beat_at > LATE * self._timings.heartbeat:
            self._steady_since = now
        self._beat_at = now
        self._call_main(self._callbacks.wanted, wanted)

    def _on_terminated(self, _: Connection) -> None:
        if self._lost is not None:
            self._lost.set()

    def _on_notification(self, _: Connection, __: int, channel: str, payload: object) -> None:
        topic = channel.removeprefix(self._schema.channel(""))
        callback = self._callbacks.topics.get(topic)
        if callback is not None:
            self._call_main(callback, str(payload))


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


async def _wait(event: asyncio.Event, timeout: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()


async def _first(*events: asyncio.Event, timeout: float) -> None:
    """Wait until one of the events is set, or for ``timeout`` seconds."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=max(0.0, timeout), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
