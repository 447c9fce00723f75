"""Which jobs to list and in which order, and cursors that River for Go can read and writes alike.

Mirrors ``JobListParams`` and ``JobListCursor`` of River's ``job_list_params.go``.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rivermill import gojson
from rivermill.config_values import check_list
from rivermill.errors import ValidationError
from rivermill.job import JobRow, JobState
from rivermill.jsonb import encode_object
from rivermill.named_args import number_args
from rivermill.schema import Schema

MAX_LIST = 10_000
#: What the columns hold.
_MAX_ID, _MAX_PRIORITY = 2**63 - 1, 2**15 - 1
_GO_ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)


class JobListOrder(StrEnum):
    """What to order a list by; ``TIME`` is the time that belongs to the first listed state. Ties go by id.

    Mirrors ``JobListOrderByField``.
    """

    ID = "id"
    FINALIZED_AT = "finalized_at"
    SCHEDULED_AT = "scheduled_at"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class JobListCursor:
    """The place after one job of a list; ``time`` is None where the list goes by id or the job's time is null.

    Mirrors River's ``JobListCursor``, with the same text.
    """

    id: int
    kind: str
    queue: str
    sort_field: JobListOrder
    time: datetime | None

    def encode(self) -> str:
        """The cursor as text, the same that River for Go writes."""
        value = {"id": self.id, "kind": self.kind, "queue": self.queue, "sort_field": self.sort_field.value}
        text = gojson.encode(value | {"time": "0001-01-01T00:00:00Z" if self.time is None else self.time})
        return base64.urlsafe_b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, text: str) -> JobListCursor:
        """Read a cursor that this or a Go client has written.

        Raises:
            ValidationError: it is no cursor.
        """
        try:
            value = json.loads(base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
            time = datetime.fromisoformat(value["time"])
            return cls(
                id=int(value["id"]),
                kind=str(value["kind"]),
                queue=str(value["queue"]),
                sort_field=JobListOrder(value["sort_field"]),
                time=None if time == _GO_ZERO_TIME else time,
            )
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            raise ValidationError(f"cursor {text[:60]!r}: not one that a job list has given") from error


def _check_numbers(name: str, values: Sequence[Any], most: int) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > most:
            raise ValidationError(f"{name} {value!r}: use whole numbers up to {most}")


def _check_lists(**values: Any) -> None:
    for name, value in values.items():
        check_list(name, value, f"[{value!r}]", wrong=ValidationError)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; an empty field does not filter, several must all match.

    Args:
        ids: the jobs.
        kinds: their kinds.
        queues: their queues.
        states: their states.
        priorities: their priorities.
        where: one more condition, in SQL, over the columns of ``river_job``; values are ``@name`` in it, never text of it.
            Mirrors ``Where`` of ``JobListParams`` and ``JobDeleteManyParams``.
        where_args: the values, of types that the driver takes for their places.

    Raises:
        ValidationError: names in ``where`` and ``where_args`` differ, there is no such state, or an id or a priority is no
            whole number that its column holds.
    """

    ids: Sequence[int] = ()
    kinds: Sequence[str] = ()
    queues: Sequence[str] = ()
    states: Sequence[JobState] = ()
    priorities: Sequence[int] = ()
    where: str = ""
    where_args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_lists(ids=self.ids, kinds=self.kinds, queues=self.queues, states=self.states, priorities=self.priorities)
        if not isinstance(self.where, str) or not isinstance(self.where_args, Mapping):
            raise ValidationError("where: use a text with @name where values go, and where_args={'name': value, …} for them")
        number_args(self.where, self.where_args, [])
        _check_numbers("ids", self.ids, _MAX_ID)
        _check_numbers("priorities", self.priorities, _MAX_PRIORITY)
        for state in self.states:
            if state not in tuple(JobState):
                raise ValidationError(f"states {state!r}: use {', '.join(JobState)}")

    @property
    def empty(self) -> bool:
        """Whether it lets every job through."""
        return not (self.ids or self.kinds or self.queues or self.states or self.priorities or self.where)

    def conditions(self, values: list[Any]) -> list[str]:
        """The conditions in SQL; their parameters are appended to ``values``."""
        columns = (
            ("id", "bigint[]", self.ids),
            ("kind", "text[]", self.kinds),
            ("queue", "text[]", self.queues),
            ("priority", "smallint[]", self.priorities),
        )
        found = []
        for column, sql_type, wanted in columns:
            if wanted:
                values.append(list(wanted))
                found.append(f"{column} = ANY(${len(values)}::{sql_type})")
        # The index that has the queue begins with the state, which PostgreSQL skips by itself only from 18 on.
        states = self.states or (JobState if self.queues else ())
        if states:
            # Constants, unlike a parameter, are looked up in the statistics: few jobs of a state are found by their state.
            names = ", ".join(f"'{JobState(state).value}'" for state in dict.fromkeys(states))
            found.append(f"state IN ({names})")
        if self.where:
            # On lines of its own, so that a comment in it ends there.
            found.append(f"(\n{number_args(self.where, self.where_args, values)}\n)")
        return found


@dataclass(frozen=True, slots=True)
class JobListParams(JobFilter):
    """Which jobs to list, in which order: the fields of ``JobFilter``, and these. Mirrors River's ``JobListParams``.

    Args:
        tags_all: tags that a job must all have.
        tags_any: tags of which a job must have one.
        metadata: a JSON object, or the text of one, that the job's metadata must contain (``@>``).
        order_by: ``FINALIZED_AT`` lists final states only, and all of them if ``states`` is empty.
        descending: largest first; nulls come last ascending and first descending.
        limit: 1 to 10,000 jobs.
        after: a cursor, or the last job of the page before.

    Raises:
        ValidationError: as for ``JobFilter``, ``limit`` is out of its range, ``metadata`` are no JSON object, or
            ``FINALIZED_AT`` meets a state that is not final.
    """

    tags_all: Sequence[str] = ()
    tags_any: Sequence[str] = ()
    metadata: Mapping[str, Any] | str | None = None
    order_by: JobListOrder = JobListOrder.ID
    descending: bool = False
    limit: int = 100
    after: JobListCursor | JobRow | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.limit, int) or not 1 <= self.limit <= MAX_LIST:
            raise ValidationError(f"limit {self.limit!r}: use 1 to {MAX_LIST}")
        _check_lists(tags_all=self.tags_all, tags_any=self.tags_any)
        if self.order_by not in tuple(JobListOrder):
            raise ValidationError(f"order_by {self.order_by!r}: use JobListOrder with one of {', '.join(JobListOrder)}")
        object.__setattr__(self, "order_by", JobListOrder(self.order_by))
        if self.after is not None and not isinstance(self.after, JobListCursor | JobRow):
            raise ValidationError(
                f"after {str(self.after)[:60]!r}: use a JobListCursor (JobListCursor.decode reads its text) or the last JobRow"
            )
        JobFilter.__post_init__(self)
        if self.metadata is not None:
            encode_object("metadata", self.metadata)
        if self.order_by is JobListOrder.FINALIZED_AT:
            if not self.states:
                object.__setattr__(self, "states", tuple(state for state in JobState if state.final))
            live = [state for state in self.states if not JobState(state).final]
            if live:
                raise ValidationError(f"order_by finalized_at: leave out states {live}, which have no such time")

    @property
    def time_field(self) -> str | None:
        """The column that the list goes by before the id."""
        if self.order_by is JobListOrder.ID:
            return None
        if self.order_by is not JobListOrder.TIME:
            return self.order_by.value
        first = JobState(self.states[0]) if self.states else JobState.AVAILABLE
        if first is JobState.RUNNING:
            return "attempted_at"
        return "finalized_at" if first.final else "scheduled_at"

    @property
    def _nullable(self) -> bool:
        if self.time_field == "finalized_at":
            return any(not JobState(state).final for state in self.states)
        return self.time_field == "attempted_at"

    def cursor(self, job: JobRow) -> JobListCursor:
        """The place after ``job`` in this list."""
        time = getattr(job, self.time_field) if self.time_field else None
        return JobListCursor(job.id, job.kind, job.queue, self.order_by, time)

    def statement(self, schema: Schema, columns: str) -> tuple[str, list[Any]]:
        """The SELECT and its parameters."""
        values: list[Any] = [self.limit]
        conditions = [*self.conditions(values), *self._more(values)]
        if self.time_field == "finalized_at" and not self._nullable:
            conditions.append("finalized_at IS NOT NULL")  # always so; it lets the partial index be used
        if self.after is not None:
            after = self.after if isinstance(self.after, JobListCursor) else self.cursor(self.after)
            conditions.append(self._keyset(after, values))
        direction, nulls = ("DESC", "FIRST") if self.descending else ("ASC", "LAST")
        order = f"{self.time_field} {direction} NULLS {nulls}, " if self.time_field else ""
        where = " AND ".join(conditions) or "true"
        table = schema.table("river_job")
        return f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order}id {direction} LIMIT $1", values

    def _more(self, values: list[Any]) -> list[str]:
        conditions = []
        for operator, tags in (("@>", self.tags_all), ("&&", self.tags_any)):
            if tags:
                values.append(list(tags))
                conditions.append(f"tags::text[] {operator} ${len(values)}::text[]")
        if self.metadata is not None:
            values.append(encode_object("metadata", self.metadata))
            conditions.append(f"metadata @> ${len(values)}::text::jsonb")
        return conditions

    def _keyset(self, after: JobListCursor, values: list[Any]) -> str:
        beyond, field = "<" if self.descending else ">", self.time_field
        values.append(after.id)
        by_id = f"id {beyond} ${len(values)}::bigint"
        if field is None or (after.time is None and not self._nullable):
            return by_id
        if after.time is None:
            return f"({field} IS NOT NULL OR {by_id})" if self.descending else f"({field} IS NULL AND {by_id})"
        values.append(after.time)
        by_time = f"({field}, id) {beyond} (${len(values)}::timestamptz, ${len(values) - 1}::bigint)"
        return f"({by_time} OR {field} IS NULL)" if self._nullable and not self.descending else by_time


@dataclass(frozen=True, slots=True)
class JobListResult:
    """One page of jobs, and the cursor after its last; None when it is empty. Mirrors River's ``JobListResult``."""

    jobs: list[JobRow]
    last_cursor: JobListCursor | None
