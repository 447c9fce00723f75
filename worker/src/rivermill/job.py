"""A job: the row of ``river_job`` and, for a worker, its typed args and what it may do to the running attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from rivermill.errors import JobInterruptedError, NotStartedError, ValidationError
from rivermill.jsonb import encode_value
from rivermill.resumable import Step, Steps

if TYPE_CHECKING:
    from rivermill.client import Client

ArgsT = TypeVar("ArgsT")

MAX_OUTPUT_BYTES = 32 * 1024 * 1024
_OUTPUT = "output"
_RESERVED = "river:"


class JobState(StrEnum):
    """The states of ``river_job_state``. Mirrors ``rivertype.JobState``."""

    AVAILABLE = "available"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    DISCARDED = "discarded"
    PENDING = "pending"
    RETRYABLE = "retryable"
    RUNNING = "running"
    SCHEDULED = "scheduled"

    @property
    def final(self) -> bool:
        """Whether a job in this state is over."""
        return self in (JobState.CANCELLED, JobState.COMPLETED, JobState.DISCARDED)


@dataclass(frozen=True, slots=True)
class AttemptError:
    """One element of ``river_job.errors``. Mirrors ``rivertype.AttemptError``.

    Attributes:
        encoded_at: ``at`` as it is stored; clients in other languages write nanoseconds.
    """

    at: datetime
    attempt: int
    error: str
    trace: str
    encoded_at: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of ``river_job``. Times are aware and in UTC. Mirrors ``rivertype.JobRow``.

    Attributes:
        args: the decoded JSON object.
        metadata: the decoded JSON object.
        encoded_args: the text of ``args`` as the database has it; empty in a row that was not read from there.
        encoded_metadata: likewise; it holds numbers exactly which ``metadata`` has as floats.
    """

    id: int
    kind: str
    queue: str
    state: JobState
    args: Mapping[str, Any]
    attempt: int
    max_attempts: int
    priority: int
    created_at: datetime
    scheduled_at: datetime
    attempted_at: datetime | None = None
    finalized_at: datetime | None = None
    attempted_by: tuple[str, ...] = ()
    errors: tuple[AttemptError, ...] = ()
    metadata: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    unique_key: bytes | None = None
    unique_states: tuple[JobState, ...] = ()
    encoded_args: str = field(default="", repr=False, compare=False)
    encoded_metadata: str = field(default="", repr=False, compare=False)


class ClaimedRow(Protocol):
    """A row that has not been decoded yet."""

    @property
    def id(self) -> int:
        """The job's id."""
        ...

    @property
    def kind(self) -> str:
        """The job's kind."""
        ...

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        ...

    def decode(self) -> JobRow:
        """Decode it; raises ValueError if it cannot be."""
        ...


class AttemptState(msgspec.Struct, kw_only=True, eq=False):
    """What a running attempt and its executor tell each other.

    Made for every job, and a struct is made in half the time. A worker in a thread reads and writes it too, so each field is
    written whole.

    Attributes:
        cancel_requested: someone outside cancelled the job.
        stopping: the client stops and wants the job back.
        timed_out: the attempt has used up its time.
        updates: metadata to merge into the row when the attempt ends; None while there is none.
        steps: the steps of a resumable job; None until it begins one.
        progress: what a worker in a process of its own has told of its steps, to record if the attempt does not succeed.
        encoded_args: what the args are decoded from in the place of those of the row; None where nothing takes their place.
    """

    cancel_requested: bool = False
    stopping: bool = False
    timed_out: bool = False
    updates: dict[str, Any] | None = None
    steps: Steps | None = None
    progress: Mapping[str, Any] | None = None
    encoded_args: str | None = None

    @property
    def client(self) -> Client | None:
        """The client that executes the job; None where none does."""
        return None

    @property
    def interrupted(self) -> bool:
        """Whether the attempt shall end early."""
        return self.cancel_requested or self.stopping or self.timed_out

    def update(self, key: str, value: Any) -> None:
        """Record one key of metadata; ``value`` may be ``msgspec.Raw`` JSON."""
        if self.updates is None:
            self.updates = {}
        self.updates[key] = value

    def begin_steps(self, metadata: Mapping[str, Any]) -> Steps:
        """The steps of a job, whose metadata are as it was claimed."""
        return Steps(metadata)


class Job(Generic[ArgsT]):
    """What a worker is given: the typed ``args`` and the row as it was claimed. Mirrors River's ``Job``.

    Args:
        args: the decoded args; hooks and middleware that run before the worker find None there and ``row.args`` filled.
        row: the row, or what makes it: most jobs never look at theirs, so it is decoded when they do.
        state: the running attempt's; a new one where nothing executes the job, as in a test of a worker.

    """

    __slots__ = ("_row", "args", "state")

    def __init__(self, args: ArgsT, row: JobRow | ClaimedRow, state: AttemptState | None = None) -> None:
        self.args = args
        self._row = row
        self.state = AttemptState() if state is None else state

    def __repr__(self) -> str:
        return f"Job(id={self.id}, kind={self.kind!r}, attempt={self.attempt}, args={self.args!r})"

    @property
    def id(self) -> int:
        """The job's id."""
        return self._row.id

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self._row.kind

    @property
    def attempt(self) -> int:
        """The number of this attempt, 1 for the first."""
        return self._row.attempt

    @property
    def row(self) -> JobRow:
        """The row as it was claimed.

        Raises:
            ValueError: it cannot be decoded.
        """
        if not isinstance(self._row, JobRow):
            self._row = self._row.decode()
        return self._row

    @property
    def encoded_args(self) -> str:
        """The JSON text that ``args`` are decoded from, which ``work_begin`` and ``work`` may set, as they do to decrypt.

        Until then it is the row's.

        Raises:
            ValidationError: it is set to what is no text.
            ValueError: the row cannot be decoded.
        """
        return self.row.encoded_args if self.state.encoded_args is None else self.state.encoded_args

    @encoded_args.setter
    def encoded_args(self, text: str) -> None:
        if not isinstance(text, str):
            raise ValidationError(f"encoded_args of type {type(text).__name__}: set the text of a JSON object")
        self.state.encoded_args = text

    @property
    def client(self) -> Client:
        """The client that executes the job. Mirrors ``ClientFromContext``.

        Raises:
            NotStartedError: no client does, or the job runs in a process of its own.
        """
        if self.state.client is None:
            raise NotStartedError("job.client is known only where a client executes the job in its own process")
        return self.state.client

    @property
    def cancelled(self) -> bool:
        """Whether the attempt shall end early: the job was cancelled, took too long, or its client stops.

        Workers in threads must look at it now and then; async ones are told by ``asyncio.CancelledError`` too.
        """
        return self.state.interrupted

    def check_cancelled(self) -> None:
        """Raise JobInterruptedError if the attempt shall end early; let it pass through the worker."""
        if self.state.interrupted:
            raise JobInterruptedError(f"job {self.id} was interrupted")

    def record_output(self, output: Any) -> None:
        """Store ``output`` under the metadata key ``output`` when the attempt ends, whatever its outcome.

        A later call overwrites an earlier one. Mirrors ``RecordOutput``.

        Args:
            output: any value msgspec can encode as JSON, at most 32 MiB of it.

        Raises:
            ValidationError: it cannot be encoded or stored, or is too large.
        """
        raw = encode_value("output", output)
        if len(raw) > MAX_OUTPUT_BYTES:
            raise ValidationError(f"output of {len(raw)} bytes: River stores at most {MAX_OUTPUT_BYTES}")
        self.state.update(_OUTPUT, msgspec.Raw(raw))

    def set_metadata(self, key: str, value: Any) -> None:
        """Merge one key into the job's metadata when the attempt ends, whatever its outcome. Mirrors ``MetadataSet``.

        Raises:
            ValidationError: the key is no text or starts with ``river:``, or it or the value cannot be encoded or stored.
        """
        if not isinstance(key, str):
            raise ValidationError(f"metadata key {key!r}: use a text")
        if key.startswith(_RESERVED):
            raise ValidationError(f"metadata key {key!r}: keys that start with {_RESERVED} are River's own")
        encode_value("metadata key", key)
        self.state.update(key, msgspec.Raw(encode_value(f"metadata {key!r}", value)))

    def step(self, name: str) -> Step:
        """Begin a step of a resumable job; if the attempt fails later, the next one finds it done.

        ``with job.step("charge") as step:`` and inside it ``if step.needed:``. Mirrors ``ResumableStep`` and
        ``ResumableStepCursor``.

        Raises:
            ValidationError: it is inside another step, there was one of this name before, or the name cannot be stored.
            ValueError: the row cannot be decoded.
        """
        if self.state.steps is None:
            self.state.steps = self.state.begin_steps(self.row.metadata or {})
        return self.state.steps.step(name)
