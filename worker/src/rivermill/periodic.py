"""Periodic jobs: which there are, and when each is due. Pure. Mirrors River's ``periodic_job.go``.

They live in memory. Only the leader inserts them, its terms start from nothing, and turns that come while there is no leader
are not made up for: the free River for Go does the same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rivermill.args import check_kind
from rivermill.errors import ConfigError, ValidationError
from rivermill.schedules import Schedule, next_turn

#: What is due within this is inserted with what is due now.
_MARGIN = timedelta(milliseconds=100)

logger = logging.getLogger("rivermill.periodic")


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A job that the leader inserts again and again. Mirrors ``NewPeriodicJob`` and ``PeriodicJobOpts``.

    Args:
        schedule: when: an ``Interval``, a ``Cron``, or any object with such a ``next``.
        construct: makes what is inserted at each turn: args, an ``InsertParams``, or None for nothing this time. It runs on
            the event loop and must not block.
        id: names it, for ``remove_by_id`` and in the metadata key ``river:periodic_job_id``; a form as a kind has.
        run_on_start: insert one also when a term begins, or when the job is added while this client leads. Leaders that
            follow each other do so each: make the job unique, or one that can run twice.

    Raises:
        ConfigError: one of these is wrong.
    """

    schedule: Schedule
    construct: Callable[[], Any]
    id: str | None = None
    run_on_start: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise ConfigError(
                f"periodic job schedule {self.schedule!r}: use Interval(timedelta(minutes=5)), Cron('0 9 * * mon'), or an "
                "object with a method next(after)"
            )
        if not callable(self.construct):
            raise ConfigError(f"periodic job construct {self.construct!r}: use a function without parameters that makes args")
        if self.id is not None:
            try:
                check_kind(self.id, what="periodic job id")
            except ValidationError as error:
                raise ConfigError(str(error)) from error


class PeriodicJobs:
    """The periodic jobs of one client, which may be added and removed at any time, on the client's event loop.

    Only the leader inserts: to change a fleet's periodic jobs, change them in each client that may lead.
    Mirrors ``PeriodicJobBundle``.

    Args:
        jobs: those to begin with.

    Raises:
        ConfigError: as for ``add_many``.
    """

    def __init__(self, jobs: Iterable[PeriodicJob] = ()) -> None:
        self._jobs: dict[int, PeriodicJob] = {}
        self._handles = itertools.count()
        self.changed = asyncio.Event()
        self.add_many(jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[PeriodicJob]:
        return iter(list(self._jobs.values()))

    def by_handle(self) -> Mapping[int, PeriodicJob]:
        """The jobs by handle, in the order in which they were added."""
        return self._jobs

    def add(self, job: PeriodicJob) -> int:
        """Add a job; returns a handle to remove it by.

        Raises:
            ConfigError: it is no ``PeriodicJob``, or its id is taken.
        """
        return self.add_many([job])[0]

    def add_many(self, jobs: Iterable[PeriodicJob]) -> list[int]:
        """Add jobs, all or none; returns a handle for each.

        Raises:
            ConfigError: they are no list or the like, one is no ``PeriodicJob``, or an id is taken, or there twice.
        """
        if not isinstance(jobs, Iterable):
            raise ConfigError(f"periodic_jobs {jobs!r}: use a list of PeriodicJob")
        jobs = list(jobs)
        taken = {job.id for job in self}
        for index, job in enumerate(jobs):
            if not isinstance(job, PeriodicJob):
                raise ConfigError(f"periodic_jobs[{index}] is a {type(job).__name__}: make it PeriodicJob(schedule, construct)")
            if job.id is not None and job.id in taken:
                raise ConfigError(f"periodic job id {job.id!r} is taken: remove that job first, or choose another id")
            taken.add(job.id)
        added = {next(self._handles): job for job in jobs}
        self._jobs.update(added)
        self.changed.set()
        return list(added)

    def remove(self, handle: int) -> bool:
        """Remove a job; returns whether there was one of this handle."""
        return self._jobs.pop(handle, None) is not None

    def remove_many(self, handles: Iterable[int]) -> None:
        """Remove jobs; handles of none are ignored."""
        for handle in handles:
            self.remove(handle)

    def remove_by_id(self, id: str) -> bool:  # noqa: A002 - as the field of a job
        """Remove the job of an id; returns whether there was one."""
        return any(self.remove(handle) for handle, job in list(self._jobs.items()) if job.id == id)

    def remove_many_by_id(self, ids: Iterable[str]) -> None:
        """Remove the jobs of these ids; ids of none are ignored."""
        for one in ids:
            self.remove_by_id(one)

    def clear(self) -> None:
        """Remove all jobs."""
        self._jobs.clear()


@dataclass(frozen=True, slots=True)
class Turn:
    """A job that is due, and the time its schedule meant."""

    job: PeriodicJob
    at: datetime


class Timetable:
    """When the jobs are due next, for one term of one leader.

    Args:
        jobs: the jobs by handle, as they are at each moment.
    """

    def __init__(self, jobs: Mapping[int, PeriodicJob]) -> None:
        self._jobs = jobs
        self._next: dict[int, datetime | None] = {}

    def admit(self, now: datetime) -> Sequence[Turn]:
        """Take in what was added since the last time; returns what runs on start."""
        fresh = {handle: job for handle, job in self._jobs.items() if handle not in self._next}
        for handle, job in fresh.items():
            self._next[handle] = _next(job, now)
        return [Turn(job, now) for job in fresh.values() if job.run_on_start]

    def due(self, now: datetime) -> Sequence[Turn]:
        """Take what is due. The next turn is reckoned from the one that was meant, so nothing drifts."""
        turns = []
        for handle, at in list(self._next.items()):
            job = self._jobs.get(handle)
            if job is None:
                del self._next[handle]
            elif at is not None and at < now + _MARGIN:
                turns.append(Turn(job, at))
                self._next[handle] = _next(job, at)
        return turns

    def seconds_until_next(self, now: datetime) -> float | None:
        """How long nothing is due; None is for ever."""
        times = [at for handle, at in self._next.items() if at is not None and handle in self._jobs]
        return max(0.0, (min(times) - now).total_seconds()) if times else None


def _next(job: PeriodicJob, after: datetime) -> datetime | None:
    """The next turn; a schedule that makes none of it has had its last one."""
    try:
        return next_turn(job.schedule, after)
    except Exception:
        logger.exception("a periodic job's schedule failed: it is not inserted again in this term", extra={"id": job.id})
        return None
