"""Inserts the periodic jobs while this client leads. Mirrors River's ``periodic_job_enqueuer.go``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from rivermill import gojson
from rivermill.around_inserts import insert_with, inserts_around
from rivermill.db import Connection
from rivermill.errors import RivermillError
from rivermill.extensions import Extensions, awaitable
from rivermill.insert import Inserter
from rivermill.insert_rows import InsertOpts, InsertParams, PeriodicParams
from rivermill.maintenance.connection import LeaderConnection
from rivermill.periodic import PeriodicJobs, Timetable, Turn

#: Looks at the clock at least this often, since a clock can be set.
_LONGEST_SLEEP = 60.0
_TIMEOUT = 30.0

logger = logging.getLogger("rivermill.periodic")


class Enqueuer:
    """Inserts what is due.

    Args:
        jobs: the client's periodic jobs.
        inserter: the client's.
        extensions: the client's hooks and middleware, which run around these inserts too.
    """

    def __init__(self, jobs: PeriodicJobs, inserter: Inserter, extensions: Extensions) -> None:
        self._jobs = jobs
        self._inserter = inserter
        self._extensions = extensions

    async def prepare(self) -> None:
        """Run the ``periodic_jobs_start`` hooks; raises what they raise."""
        for hook in self._extensions.periodic_jobs_start:
            await awaitable(hook, "periodic_jobs_start", hook.periodic_jobs_start())

    async def run(self, connection: LeaderConnection) -> None:
        """Insert until cancelled, starting from the present.

        What cannot be inserted is logged and lost, as in River: the next turn comes all the same.
        """
        timetable = Timetable(self._jobs.by_handle())
        turns: Sequence[Turn] = []
        while True:
            self._jobs.changed.clear()
            await self._insert(connection, [*turns, *timetable.admit(datetime.now(UTC))])
            seconds = timetable.seconds_until_next(datetime.now(UTC))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SLEEP if seconds is None else min(seconds, _LONGEST_SLEEP)):
                    await self._jobs.changed.wait()
            turns = timetable.due(datetime.now(UTC))

    async def _insert(self, leaders: LeaderConnection, turns: Sequence[Turn]) -> None:
        params = [one for turn in turns if (one := self._construct(turn)) is not None]
        if not params:
            return

        async def insert(connection: Connection) -> None:
            async with connection.transaction():
                insert_all = partial(self._inserter.insert, connection)
                await insert_with(self._extensions, params, self._inserter.resolve, insert_all)

        try:
            async with asyncio.timeout(_TIMEOUT):
                # Hooks take the time they take, and are not called twice.
                await leaders.run(insert, quick=not inserts_around(self._extensions, params))
        except TimeoutError:
            text = "periodic jobs were not inserted within %(seconds)s s: this turn may be lost"
            facts = {"seconds": _TIMEOUT, "jobs": len(params)}
            logger.warning(text, facts, extra=facts)
        except Exception:
            logger.exception("periodic jobs could not be inserted: this turn is lost", extra={"jobs": len(params)})

    def _construct(self, turn: Turn) -> InsertParams | None:
        """What to insert, if there is anything and it is valid; one bad job spoils no other."""
        job = turn.job
        try:
            made = job.construct()
            if made is None:
                logger.info("a periodic job has nothing to insert this time", extra={"id": job.id})
                return None
            params = made if isinstance(made, InsertParams) else InsertParams(made)
            own = getattr(params.args, "insert_opts", None)
            opts = params.opts.over(own() if callable(own) else InsertOpts())
            named = {"river:periodic_job_id": job.id} if job.id is not None else {}
            metadata = gojson.add_members(gojson.encode_object(opts.metadata or {}), {**named, "periodic": True})
            marked = InsertOpts(metadata=metadata).over(opts)
            params = PeriodicParams(params.args, marked, params.encoded_args, at=turn.at)
            self._inserter.resolve([params])
        except Exception as error:
            expected = isinstance(error, RivermillError)
            logger.error(  # noqa: TRY400 - a wrong option needs no traceback
                "a periodic job could not be made: this turn is lost",
                extra={"id": job.id, "error": str(error)},
                exc_info=None if expected else error,
            )
            return None
        return params
