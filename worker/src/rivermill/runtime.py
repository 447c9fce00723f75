"""Works jobs: owns the producer, the executor, the completer, the listener thread and the leader's services."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rivermill.claimed import Policy
from rivermill.client_queues import ClientQueues
from rivermill.completer import Completer
from rivermill.config import Settings
from rivermill.control_poll import ControlPoll
from rivermill.cordon import Cordon
from rivermill.db import SharedConnection
from rivermill.drain import Drain
from rivermill.errors import RivermillError
from rivermill.events import Subscribers
from rivermill.executor import Executor
from rivermill.failures import Failures
from rivermill.gate import Gate
from rivermill.health import Health, HealthServer, serve
from rivermill.heartbeat import ClientState, Heartbeat, Vitals
from rivermill.job_events import JobEvents
from rivermill.leader import Elector
from rivermill.limit_watch import LimitWatch
from rivermill.login_check import LoginCheck
from rivermill.maintenance.connection import LeaderConnection
from rivermill.maintenance.enqueuer import Enqueuer
from rivermill.maintenance.reindexer import Reindexer
from rivermill.maintenance.services import Maintenance, statement_timeout
from rivermill.maintenance.terms import Terms
from rivermill.metrics import Metrics
from rivermill.notify import Callbacks, Listener
from rivermill.pauses import Pauses
from rivermill.producer import Producer
from rivermill.queue_report import QueueReport
from rivermill.queue_work import RunningQueues
from rivermill.sequencer import Sequencer
from rivermill.signals import Signals
from rivermill.stand_in import StandIn
from rivermill.timings import Timings
from rivermill.worker import Workers

if TYPE_CHECKING:
    from rivermill.client import Client

logger = logging.getLogger("rivermill.runtime")


class Runtime:
    """One client at work.

    Args:
        settings: every setting.
        workers: the kinds to execute.
        queues: the queues to work.
        shared: the client's connection, for completions and elections.
        enqueuer: inserts the client's periodic jobs while it leads.
        subscribers: told of what happens.
        client: what jobs find as ``Job.client``.
        timings: intervals.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        queues: ClientQueues,
        shared: SharedConnection,
        enqueuer: Enqueuer,
        subscribers: Subscribers,
        client: Client | None = None,
        timings: Timings | None = None,
    ) -> None:
        timings = timings or Timings()
        name = f"rivermill {settings.client_id}"[:63]
        self._settings = settings
        self._shared = shared
        self._claim = SharedConnection(settings.dsn, name, pooled=settings.transaction_pooler)
        self.metrics = Metrics()
        self._health = Health()
        self._extensions = settings.extensions
        gate = Gate(timings.listener.silence)
        self._failures = Failures(settings.pod, self.metrics.attempts, gate, self._beat)
        self._subscribers = subscribers
        events = JobEvents(settings.schema, subscribers)
        self.completer = Completer(shared, settings.schema, settings.client_id, self.metrics, events, self._on_flushed)
        self._executor = Executor(
            workers,
            self.completer,
            self.metrics,
            Policy.of(settings, self._extensions, client, self._failures.add),
            queues=queues,
            on_free=self._on_free,
        )
        self.is_job = self._executor.is_job
        self._sequencer = Sequencer(
            settings,
            shared,
            lambda: (*self._executor.job_ids(), *self.completer.job_ids()),
            lambda: self.leading,
            self._on_turn,
            timings.sequencer,
        )
        self._drain = Drain(self._executor, settings.shutdown_timeout)
        self._producer = Producer(
            settings,
            queues,
            self._claim,
            self._executor,
            self.metrics,
            self.completer.job_ids,
            workers.kinds(),
            self._extensions,
            self._sequencer.claimed,
            gate,
        )
        self._limit_watch = LimitWatch(settings, shared, self._producer)
        self._pauses = Pauses(self._producer, subscribers)
        self._queue_report = QueueReport(settings, queues, shared, self._producer)
        self._queues = queues
        self._running_queues = RunningQueues(self._queue_report, self._producer, self._executor, self._beat)
        self._control_poll = ControlPoll(
            settings, queues, shared, self._pauses, self._producer, self._executor, timings.control_poll
        )
        self._cordon = Cordon(self._producer, self._executor, self.completer, self._on_cordon)
        upkeep = SharedConnection(
            settings.dsn, name, statement_timeout=statement_timeout(settings), pooled=settings.transaction_pooler
        )
        self._login_check = LoginCheck((shared, self._claim, upkeep), timings.listener.refused)
        self._maintenance = Maintenance(
            settings,
            workers,
            LeaderConnection(shared, upkeep),
            self.metrics,
            timings.maintenance,
            enqueuer,
            Reindexer(settings, name),
            steady_seconds=lambda: self._listener.steady_seconds,
            resign=lambda: self._elector.request_resign(stand_back=True),
        )
        self._terms = Terms(self._maintenance.run, lambda task: self._on_task_done("maintenance", task))
        self._elector = Elector(shared, settings.schema, settings.client_id, self._terms.change, timings.election)
        heartbeat = Heartbeat(settings, queues, metadata.version("rivermill"))
        self._stand_in = StandIn(
            shared, heartbeat, self._vitals, gate, timings.listener.heartbeat, self._cordon.want, self._producer.fetch_soon
        )
        self._listener = Listener(settings, name, heartbeat, self._callbacks(), self.metrics, timings.listener)
        self._http: HealthServer | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop: asyncio.Task[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self.left_running: tuple[int, ...] = ()

    @property
    def http_port(self) -> int | None:
        """The port that health and metrics are served on."""
        return self._http.port if self._http else None

    @property
    def leading(self) -> bool:
        """Whether this client is the leader."""
        return self._elector.leading

    async def start(self) -> None:
        """Connect, report the queues and begin to claim.

        Raises:
            ConfigError: the health port cannot be served.
            DatabaseUnavailableError: there is no connection.
            MigrationError: the schema has no River tables.
        """
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            self._http = serve(self._settings, self._health, self.metrics.registry, self._refresh_metrics)
            await self._queue_report.begin()
            await self._listener.start()
        except BaseException:
            await self._close()
            raise
        self._spawn("completer", self.completer.run())
        self._spawn("producer", self._producer.run())
        if not self._settings.leader_election_disabled:
            self._spawn("elector", self._elector.run())
        self._spawn("cordon", self._cordon.run())
        self._spawn("queue report", self._queue_report.run())
        self._spawn("control poll", self._control_poll.run())
        self._spawn("limit watch", self._limit_watch.run())
        self._spawn("sequencer", self._sequencer.run())
        self._spawn("pulse", self._pulse())
        self._spawn("login check", self._login_check.run())
        self._spawn("stand-in", self._stand_in.run())
        self._queues.work = self._running_queues
        self._set_ready()
        logger.info("client started", extra={"client_id": self._settings.client_id})

    async def stop(self, *, cancel: bool = False) -> None:
        """Stop claiming, let jobs finish, give the rest back, flush, and leave. Later calls wait for the same end.

        Args:
            cancel: give running jobs back at once.
        """
        if self._stopped is None:
            return
        if cancel:
            self._drain.hurry()
        if self._stop is None:
            self._stop = asyncio.create_task(self._end(self._stopped), name="rivermill stop")
        await asyncio.shield(self._stop)  # whoever waits no more must not cut it off

    async def stopped(self) -> None:
        """Wait for the end of ``stop``, or of a part without which the client is useless.

        Raises:
            RivermillError: a part died.
        """
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    # --- stopping ---

    async def _end(self, stopped: asyncio.Future[None]) -> None:
        self._health.ready("stopping")
        logger.info("client stops", extra={"running": self._executor.unfinished})
        try:
            await self._producer.cordon()
            await self._drain.run()
            await self._flush()
        finally:
            try:
                await self._close()
                await self._shared.close()  # whoever asked for the stop may be gone
            finally:
                if not stopped.done():
                    stopped.set_result(None)
            stopped.exception()  # seen by whoever waits for stopped(); stopping itself has succeeded
        logger.info("client stopped")

    async def _flush(self) -> None:
        self.completer.close()
        task = self._tasks.get("completer")
        if task is not None:
            _, late = await asyncio.wait([task], timeout=10)
            if late:
                logger.error("completions could not be written", extra={"jobs": self.completer.backlog})
        await self._sequencer.finish()  # the last client must not leave the next job pending

    async def _close(self) -> None:
        self._queues.work = None
        self._running_queues.close()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        await self._terms.close()
        unwritten = self._executor.unfinished or self.completer.backlog or self._producer.return_lost_at
        self.left_running = left = tuple(await self._executor.close())
        if left:
            logger.error("jobs go on although they were given up; others will rescue them", extra={"jobs": left})
        self._subscribers.close()
        await self._listener.stop(leave=not (left or unwritten))
        await self._claim.close()
        if self._http is not None:
            await asyncio.to_thread(self._http.close)

    # --- parts ---

    def _callbacks(self) -> Callbacks:
        signals = Signals(self._settings.client_id, self._producer, self._executor, self._elector, self._pauses, self._beat)
        return Callbacks(
            topics=signals.topics,
            connected=self._on_connected,
            wanted=self._stand_in.on_heartbeat,
            died=self._on_listener_died,
            working=self._executor.working,
            vitals=self._vitals,
        )

    def _vitals(self) -> Vitals:
        return Vitals(self._executor.busy, self._cordon.state, self.metrics.attempts(), self._failures.reports)

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks[name] = task = asyncio.create_task(coroutine, name=f"rivermill {name}")
        task.add_done_callback(lambda done: self._on_task_done(name, done))

    def _on_task_done(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and self._stop is None:
            self._on_death(name, task.exception())

    def _on_listener_died(self, error: Exception) -> None:
        self._drain.hurry()  # without heartbeats others take the jobs of this client soon
        self._on_death("listener", error)

    def _on_death(self, name: str, error: BaseException | None) -> None:
        self._health.dead(f"{name} died: {error!r}")
        logger.error("%s died", name, exc_info=error)
        if self._stopped is not None and not self._stopped.done() and self._stop is None:
            self._stopped.set_exception(RivermillError(f"{name} died: {error!r}"))

    def _refresh_metrics(self) -> None:
        self.metrics.slots.set(self._queues.total_slots)
        self.metrics.busy.set(self._executor.busy)
        self.metrics.backlog.set(self.completer.backlog)
        self.metrics.leader.set(1 if self._elector.leading else 0)

    async def _pulse(self) -> None:
        while True:
            self._health.alive()
            self._set_ready()
            await asyncio.sleep(1.0)

    def _set_ready(self) -> None:
        reason: str | None = None
        if self._stop is not None:
            reason = "stopping"
        elif self._cordon.state is not ClientState.ACCEPTING:
            reason = self._cordon.state.value
        elif not self._listener.healthy:
            reason = "not connected to the database"
        self._health.ready(reason)

    # --- events ---

    def _on_connected(self) -> None:
        self._set_ready()
        self._producer.fetch_soon()

    def _on_turn(self, queue: str) -> None:
        self._producer.fetch_soon(queue)

    def _on_free(self) -> None:
        self._producer.slot_freed()
        self._running_queues.check()
        if not self._executor.unfinished:
            self._cordon.check()

    def _beat(self) -> None:
        self._listener.beat()

    def _on_flushed(self) -> None:
        self._limit_watch.flushed(self.completer.backlog_due)
        self._sequencer.flushed()
        self._cordon.check()

    def _on_cordon(self) -> None:
        self._set_ready()
        self._listener.beat()
