"""A job: the row of ``river_job`` and, for a worker, its typed args."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True, slots=True)
class Job(Generic[ArgsT]):
    """What a worker is given: the typed ``args`` and the row as it was claimed."""

    args: ArgsT
    row: JobRow

    @property
    def id(self) -> int:
        """The job's id."""
        return self.row.id

    @property
    def kind(self) -> str:
        """The job's kind."""
        return self.row.kind

    @property
    def attempt(self) -> int:
        """The number of this attempt, 1 for the first."""
        return self.row.attempt
