"""A claimed job, what all jobs of its kind have in common, and how a client executes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rivermill.config import Settings
from rivermill.extensions import Extensions
from rivermill.handlers import ErrorHandler, StuckHandler
from rivermill.job import AttemptState, JobRow
from rivermill.outcome import Attempt
from rivermill.retry import default_retry_policy
from rivermill.rows import job_from_record, json_object, readable_part
from rivermill.slots import QueueSlots
from rivermill.tallies import Spread, Tally
from rivermill.worker import ExecutorKind, Registration

if TYPE_CHECKING:
    from rivermill.client import Client


@dataclass(frozen=True, slots=True)
class Policy:
    """How attempts are executed and judged.

    Attributes:
        job_timeout: where a worker says nothing; None is no limit.
        stuck_threshold: how long an attempt may go on after it was told to end.
        retry_policy: when a failed job runs again, where its worker says nothing.
        extensions: the client's hooks and middleware.
        client: what ``Job.client`` is.
    """

    job_timeout: timedelta | None = timedelta(minutes=1)
    stuck_threshold: timedelta = timedelta(seconds=10)
    retry_policy: Callable[[JobRow], datetime] = default_retry_policy
    error_handler: ErrorHandler | None = None
    stuck_handler: StuckHandler | None = None
    extensions: Extensions = Extensions()
    client: Client | None = None

    @classmethod
    def of(cls, settings: Settings, extensions: Extensions, client: Client | None) -> Policy:
        """What a client's settings say; ``extensions`` are the client's, sorted."""
        return cls(
            job_timeout=settings.job_timeout,
            stuck_threshold=settings.job_stuck_threshold,
            retry_policy=settings.retry_policy,
            error_handler=settings.error_handler,
            stuck_handler=settings.job_stuck_handler,
            extensions=extensions,
            client=client,
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """What all jobs of one kind in one queue have in common.

    Attributes:
        around: the hooks and middleware that run around its attempts, but the worker's own.
        plain: whether its worker runs on the loop with nothing around it.
    """

    queue: str
    name: str
    registration: Registration | None
    timeout: timedelta | None
    timeout_seconds: float | None
    around: Extensions
    plain: bool
    completed: Tally
    seconds: Spread


class Claimed(AttemptState):
    """One claimed job, as the executor sees it.

    Attributes:
        at: when it was claimed, then when its attempt began; monotonic seconds.
        place: where its worker runs; on the loop before and after that.
        worked: whether its worker has ended, although what is around it has not.
        entered: whether its task has begun; cancelled before, a task would never run and never free its slot.
        seized: whether its slot was not free, so that its worker must not run.
        abandoned: its row has been finished over its head; what it ends with counts for nothing.
    """

    task: asyncio.Task[None] | None = None
    place: ExecutorKind = ExecutorKind.ASYNC
    watch: asyncio.TimerHandle | None = None
    row: JobRow | None = None
    holds_slot = False
    entered = False
    worked = False
    done = False
    seized = False
    stuck = False
    abandoned = False

    def __init__(self, record: Any, kind: Kind, slots: QueueSlots[Claimed], now: float, client: Client | None) -> None:
        self.record = record
        self.id: int = record["id"]
        self.attempt: int = record["attempt"]
        self.kind_info = kind
        self.slots = slots
        self.at = now
        self.client = client

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self.kind_info.name

    @property
    def started_at(self) -> datetime:
        """When the attempt began, on this client's clock."""
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.at)

    def decode(self) -> JobRow:
        """The row.

        Raises:
            ValueError: it cannot be decoded.
        """
        if self.row is None:
            try:
                self.row = job_from_record(self.record)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"job row couldn't be decoded: {error}") from error
        return self.row

    def readable_row(self) -> JobRow:
        """The row, or what of it can be decoded."""
        try:
            return self.decode()
        except ValueError:
            return readable_part(self.record)

    def facts(self, *, handler_cancelled: bool = False) -> Attempt:
        """What the attempt's outcome depends on."""
        return Attempt(
            self.id,
            self.attempt,
            self.record["max_attempts"],
            self.started_at,
            json_object(self.record["metadata"]),
            cancel_requested=self.cancel_requested,
            stopping=self.stopping,
            handler_cancelled=handler_cancelled,
            updates=self.updates,
        )
