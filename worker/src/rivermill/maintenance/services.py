"""Runs the leader's services: each on its own interval, each surviving its own failures."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from rivermill.config import Settings
from rivermill.db import DATABASE_ERRORS
from rivermill.maintenance.cleaner import clean_jobs, clean_queues
from rivermill.maintenance.connection import QUICK_SECONDS, LeaderConnection
from rivermill.maintenance.enqueuer import Enqueuer
from rivermill.maintenance.reindexer import Reindexer
from rivermill.maintenance.rescuer import RescueRules, rescue_jobs
from rivermill.maintenance.scheduler import schedule_jobs
from rivermill.metrics import Metrics
from rivermill.worker import Workers

BATCH = 1_000
_START_ATTEMPTS = 3
#: Time limit of statements where nothing else is said, as in River.
TIMEOUT = timedelta(seconds=30)
#: A silence that only clients have which were declared dead (the operator sets their last sign of life to 1970).
ONLY_DECLARED_DEAD = timedelta(days=10_000)

logger = logging.getLogger("rivermill.maintenance")


@dataclass(frozen=True, slots=True)
class MaintenanceTimings:
    """Seconds between two runs of a service.

    Attributes:
        stagger: the most a service waits before its first run, so that not all begin at once.
        dead_after: a client's longest silence.
    """

    stagger: float = 1.0
    schedule: float = 5.0
    rescue: float = 5.0
    clean_jobs: float = 30.0
    clean_queues: float = 3600.0
    dead_after: float = 30.0


class Maintenance:
    """The services of one leader.

    Args:
        settings: retentions, time limits and the schema.
        workers: the kinds this client knows.
        connection: what the statements are run on; closed at a term's end.
        metrics: where rescues and failures are counted.
        timings: intervals.
        enqueuer: inserts periodic jobs.
        reindexer: rebuilds indexes.
        steady_seconds: for how long this client has been able to write its heartbeats.
        resign: called when the services cannot be started.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        connection: LeaderConnection,
        metrics: Metrics,
        timings: MaintenanceTimings,
        enqueuer: Enqueuer,
        reindexer: Reindexer,
        *,
        steady_seconds: Callable[[], float],
        resign: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._rules = RescueRules(
            workers, settings.job_timeout, settings.retry_policy, discard_unknown_kinds=settings.discard_unknown_kinds
        )
        self._connection = connection
        self._metrics = metrics
        self._timings = timings
        self._enqueuer = enqueuer
        self._reindexer = reindexer
        self._rescue_after_id = 0
        self._steady_seconds = steady_seconds
        self._resign = resign

    async def run(self) -> None:
        """Run every service until cancelled."""
        try:
            if await self._prepared():
                await self._serve()
            else:
                logger.error("the leader's services cannot be started: leadership is given up")
                self._resign()
                await asyncio.Event().wait()  # the term's end cancels this
        finally:
            await self._connection.close()

    async def _prepared(self) -> bool:
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                await self._enqueuer.prepare()
            except Exception:
                logger.exception("a periodic_jobs_start hook failed", extra={"attempt": attempt})
            else:
                return True
            if attempt < _START_ATTEMPTS:
                await asyncio.sleep(2 ** (attempt - 1) * random.uniform(0.9, 1.1))
        return False

    async def _serve(self) -> None:
        timings = self._timings
        async with asyncio.TaskGroup() as group:
            group.create_task(self._enqueue(), name="periodic job enqueuer")
            group.create_task(self._reindexer.run(), name="reindexer")
            for name, interval, service in (
                ("scheduler", timings.schedule, self._schedule),
                ("rescuer", timings.rescue, self._rescue),
                ("job cleaner", timings.clean_jobs, self._clean_jobs),
                ("queue cleaner", timings.clean_queues, self._clean_queues),
            ):
                group.create_task(self._repeat(name, interval, service), name=name)

    async def _enqueue(self) -> None:
        await asyncio.sleep(self._stagger())
        await self._enqueuer.run(self._connection)

    def _stagger(self) -> float:
        return random.uniform(0, self._timings.stagger)

    async def _repeat(self, name: str, interval: float, service: Callable[[], Awaitable[int]]) -> None:
        await asyncio.sleep(self._stagger())
        while True:
            pause = interval
            try:
                if await service() >= BATCH:
                    pause = random.uniform(0.05, 1.0)
            except DATABASE_ERRORS as error:
                self._metrics.service_errors.labels(name).inc()
                logger.warning("%s failed, and tries again", name, extra={"error": str(error)})
            except Exception:
                # A row or the application's code that nobody thought of would end each leader, one after the other.
                self._metrics.service_errors.labels(name).inc()
                logger.exception("%s failed, and tries again", name)
            await asyncio.sleep(pause)

    async def _schedule(self) -> int:
        return await self._connection.run(partial(schedule_jobs, schema=self._settings.schema, limit=BATCH))

    async def _rescue(self) -> int:
        # When the database comes back after an outage every client has been silent: that says nothing about its life.
        dead_after = timedelta(seconds=self._timings.dead_after)
        steady = self._steady_seconds() >= self._timings.dead_after
        work = partial(
            rescue_jobs,
            schema=self._settings.schema,
            rules=self._rules,
            dead_after=dead_after if steady else ONLY_DECLARED_DEAD,
            rescue_after=self._settings.rescue_after,
            after_id=self._rescue_after_id,
            limit=BATCH,
        )
        rescued = await self._connection.run(work)
        self._rescue_after_id = rescued.more_after or 0
        self._metrics.rescued.labels("dead_client").inc(rescued.dead_client)
        self._metrics.rescued.labels("age").inc(rescued.age)
        if rescued.dead_client or rescued.age:
            logger.warning("jobs rescued", extra={"dead_client": rescued.dead_client, "age": rescued.age})
        return 0 if rescued.more_after is None else BATCH

    async def _clean_jobs(self) -> int:
        settings = self._settings
        timeout = settings.job_cleaner_timeout
        work = partial(
            clean_jobs,
            schema=settings.schema,
            completed=settings.completed_retention,
            cancelled=settings.cancelled_retention,
            discarded=settings.discarded_retention,
            timeout=timeout,
            limit=BATCH,
        )
        # A shorter limit than a quick statement's would be the first to end it, and ends the connection.
        return await self._connection.run(work, quick=timeout is None or timeout.total_seconds() > 2 * QUICK_SECONDS)

    async def _clean_queues(self) -> int:
        return await self._connection.run(partial(clean_queues, schema=self._settings.schema, limit=BATCH))


def statement_timeout(settings: Settings) -> timedelta | None:
    """The time limit on the services' own connection; None is no limit."""
    return None if settings.job_cleaner_timeout is None else max(TIMEOUT, settings.job_cleaner_timeout)
