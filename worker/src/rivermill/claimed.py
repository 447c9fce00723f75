"""A claimed job, what all jobs of its kind have in common, and how a client executes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rivermill.config import Settings
from rivermill.extensions import Extensions
from rivermill.handlers import ErrorHandler, StuckHandler
from rivermill.job import AttemptState, Job, JobRow
from rivermill.outcome import Attempt
from rivermill.retry import default_retry_policy
from rivermill.rows import claimed_record, job_from_record, json_object, readable_part
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
        client_id: the last element of ``attempted_by``.
        on_failure: called after each attempt that failed.
    """

    job_timeout: timedelta | None = timedelta(minutes=1)
    stuck_threshold: timedelta = timedelta(seconds=10)
    retry_policy: Callable[[JobRow], datetime] = default_retry_policy
    error_handler: ErrorHandler | None = None
    stuck_handler: StuckHandler | None = None
    extensions: Extensions = Extensions()
    client: Client | None = None
    client_id: str = ""
    on_failure: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls, settings: Settings, extensions: Extensions, client: Client | None, on_failure: Callable[[], None] = lambda: None
    ) -> Policy:
        """What a client's settings say; ``extensions`` are the client's, sorted."""
        return cls(
            job_timeout=settings.job_timeout,
            stuck_threshold=settings.job_stuck_threshold,
            retry_policy=settings.retry_policy,
            error_handler=settings.error_handler,
            stuck_handler=settings.job_stuck_handler,
            extensions=extensions,
            client=client,
            client_id=settings.client_id,
            on_failure=on_failure,
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """What all jobs of one kind in one queue have in common.

    Attributes:
        label: its name in metrics.
        decode: decodes stored args.
        work: the worker's.
        timeout_seconds: infinity for no limit.
        around: the hooks and middleware that run around its attempts, but the worker's own.
        plain: whether its worker runs on the loop with nothing around it.
    """

    queue: str
    name: str
    label: str
    policy: Policy
    registration: Registration | None
    decode: Callable[[str], Any]
    work: Callable[[Job[Any]], Awaitable[Any] | None]
    timeout: timedelta | None
    timeout_seconds: float
    around: Extensions
    plain: bool
    completed: Tally
    seconds: Spread


class Claimed(AttemptState):
    """One claimed job, as the executor sees it.

    Attributes:
        at: when it was claimed, then when its attempt began; monotonic seconds.
        deadline: when its time is up; monotonic seconds.
        place: where its worker runs; on the loop before and after that.
        worked: whether its worker has ended, although what is around it has not.
        entered: whether its task has begun; cancelled before, a task would never run and never free its slot.
        touched: whether something was asked of it before its task began.
        seized: whether its slot was not free, so that its worker must not run.
        abandoned: its row has been finished over its head, or taken from it; what it ends with counts for nothing.
    """

    id: int
    record: Any
    kind_info: Kind
    slots: QueueSlots[Claimed]
    at: float
    task: asyncio.Task[None] | None = None
    deadline: float = float("inf")
    place: ExecutorKind = ExecutorKind.ASYNC
    watch: asyncio.TimerHandle | None = None
    row: JobRow | None = None
    holds_slot: bool = False
    entered: bool = False
    touched: bool = False
    worked: bool = False
    done: bool = False
    seized: bool = False
    stuck: bool = False
    abandoned: bool = False

    def __repr__(self) -> str:
        return f"Claimed(id={self.id}, kind={self.kind!r})"  # of its args not a word: reports of errors show what is there

    @property
    def client(self) -> Client | None:
        """The client that executes the job."""
        return self.kind_info.policy.client

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self.kind_info.name

    @property
    def names(self) -> dict[str, Any]:
        """What logs say of it."""
        return {"job_id": self.id, "kind": self.kind, "queue": self.kind_info.queue}

    @property
    def attempt(self) -> int:
        """The number of this attempt, 1 for the first."""
        number: int = self.record["attempt"]
        return number

    @property
    def args(self) -> str:
        """The JSON text that the worker's args are decoded from."""
        args: str = self.record["args"] if self.encoded_args is None else self.encoded_args
        return args

    @property
    def claimed_at(self) -> float:
        """The row's ``attempted_at``, epoch seconds."""
        at: float = self.record["attempted_at"]
        return at

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
                self.row = job_from_record(self._whole_record())
            except (ValueError, RecursionError) as error:
                raise ValueError(f"job row couldn't be decoded: {error}") from error
        return self.row

    def readable_row(self) -> JobRow:
        """The row, or what of it can be decoded; with the encoded args that a hook has set, as in River."""
        try:
            row = self.decode()
        except ValueError:
            row = readable_part(self._whole_record())
        return row if self.encoded_args is None else replace(row, encoded_args=self.encoded_args)

    def _whole_record(self) -> dict[str, Any]:
        return claimed_record(self.record, self.kind_info.queue, self.kind_info.policy.client_id)

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
