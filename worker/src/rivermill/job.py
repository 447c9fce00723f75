"""A job: the row of ``river_job`` and, for a worker, its typed args."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

ArgsT = TypeVar("ArgsT")


class JobState(StrEnum):
    """The states of ``river_job_state``."""

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
    """One element of ``river_job.errors``."""

    at: datetime
    attempt: int
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of ``river_job``. ``args`` and ``metadata`` are decoded JSON objects; times are aware and in UTC."""

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


class Job(Generic[ArgsT]):
    """What a worker is given: the typed ``args`` and the row as it was claimed.

    Args:
        args: the decoded args.
        row: the row, or what makes it: most jobs never look at theirs, so it is decoded when they do.

    Attributes:
        id: the job's id.
        kind: the job's kind.
        attempt: the number of this attempt, 1 for the first.
    """

    __slots__ = ("_row", "args", "attempt", "id", "kind")

    def __init__(self, args: ArgsT, row: JobRow | ClaimedRow) -> None:
        self.args = args
        self.id = row.id
        self.kind = row.kind
        self.attempt = row.attempt
        self._row = row

    @property
    def row(self) -> JobRow:
        """The row as it was claimed.

        Raises:
            ValueError: an element of ``errors`` is not of River's form.
        """
        if not isinstance(self._row, JobRow):
            self._row = self._row.decode()
        return self._row

    def __repr__(self) -> str:
        return f"Job(id={self.id}, kind={self.kind!r}, attempt={self.attempt}, args={self.args!r})"
