"""Rows to insert: options checked and filled in, args encoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Self

from rivermill import gojson
from rivermill.args import check_names, check_stored_kind, encode_args, kind_of, refuse_type
from rivermill.errors import ValidationError
from rivermill.job import JobState
from rivermill.jsonb import encode_object
from rivermill.rows import END_OF_TIMES, FIRST_TIME
from rivermill.sequences import SequenceOpts, key_in
from rivermill.unique import Unique, unique_key

QUEUE_DEFAULT = "default"
PRIORITY_DEFAULT = 1
_MAX_QUEUE_LENGTH = 64
_MAX_TAG_LENGTH = 255
MAX_PRIORITY = 4
_MAX_SMALLINT = 32767
#: One way to match each name: with an optional separator, long names would be tried in exponentially many.
_QUEUE = re.compile(r"[a-z0-9]+(?:[_|\-][a-z0-9]+)*")
_TAG = re.compile(r"\w[\w\-]+\w", re.ASCII)


#: Options whose wrong types would be told badly, or not at all.
_TYPED = (
    ("scheduled_at", datetime, "an aware datetime, e.g. datetime.now(UTC) + timedelta(hours=1)"),
    ("unique", Unique, "a Unique, e.g. Unique(by_args=True)"),
    ("sequence", SequenceOpts, "a SequenceOpts, e.g. SequenceOpts(by_args=['customer_id'])"),
    ("tags", Iterable, "a list of texts"),
    ("metadata", (Mapping, str), "a dict, or the text of a JSON object"),
)


@dataclass(frozen=True, slots=True)
class InsertOpts:
    """How a job is inserted; None leaves the choice to the args type's ``insert_opts()``, then to the client.

    Args:
        max_attempts: attempts before the job is discarded, 1 or more; above 32767 it is stored as 32767, as in River.
        metadata: a JSON object kept beside the args, or the text of one, whose numbers are kept digit by digit.
        pending: insert as ``pending``, which nothing works until it is made available.
        priority: 1 (most urgent) to 4.
        queue: River's queue name: lower case letters and digits in groups joined by ``_``, ``-`` or ``|``, at most 64.
        scheduled_at: run no earlier than this aware time, of the years 2 to 9998.
        tags: 3 or more word characters each, ``-`` allowed inside.
        unique: which properties make it the same job as another; an empty ``Unique()`` is refused.
        sequence: the jobs that it runs after: one at a time, in the order of their ids.
    """

    max_attempts: int | None = None
    metadata: Mapping[str, Any] | str | None = None
    pending: bool | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: Sequence[str] | None = None
    unique: Unique | None = None
    sequence: SequenceOpts | None = None

    def __post_init__(self) -> None:
        for name, kind, example in _TYPED:
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ValidationError(f"{name} {value!r}: use {example}")
        if isinstance(self.tags, str):
            raise ValidationError(f"tags {self.tags!r}: pass a list, e.g. [{self.tags!r}]")
        if self.unique is not None and self.unique.empty:
            raise ValidationError(
                "unique Unique(): nothing in it makes a job unique: use Unique(by_args=True), or for one job of the kind, "
                "whatever its args, Unique(by_state=UNIQUE_STATES_DEFAULT)"
            )

    def over(self, other: InsertOpts) -> InsertOpts:
        """These options, with ``other``'s where they leave the choice open."""
        _check_opts(other)
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return InsertOpts(**{k: v if v is not None else getattr(other, k) for k, v in mine.items()})


@dataclass(frozen=True, slots=True)
class InsertParams:
    """One job to insert: its args and options, for ``insert_many``. Mirrors ``InsertManyParams``.

    Args:
        args: a value of an args type.
        opts: how to insert it. What hooks and middleware see has everything filled in that the args type or the client decides.
        encoded_args: a JSON object, or the text of one, that is stored in the place of what ``args`` encode to, as by a hook
            that encrypts; what makes the job unique, or selects its sequence, is still taken from ``args``.
    """

    args: Any
    opts: InsertOpts = InsertOpts()
    encoded_args: Mapping[str, Any] | str | None = None

    def __post_init__(self) -> None:
        if type(self.opts) is not InsertOpts:
            kind_of(self.args)  # a kind and its args are a common mistake, and the first of the two
            _check_opts(self.opts)

    def encode(self) -> str:
        """The text of the JSON object to store: ``encoded_args``, or what ``args`` encode to.

        Raises:
            ValidationError: it cannot be encoded or stored.
        """
        return encode_args(self.args) if self.encoded_args is None else encode_object("encoded_args", self.encoded_args)

    def with_metadata(self, members: Mapping[str, Any] | str) -> Self:
        """The same job with the members of a JSON object added to its metadata, in the place of those of the same names.

        Raises:
            ValidationError: it cannot be encoded or stored.
        """
        text = gojson.merge(encode_object("metadata", self.opts.metadata or {}), encode_object("metadata", members))
        return replace(self, opts=InsertOpts(metadata=text).over(self.opts))


def as_params(jobs: Iterable[Any]) -> list[InsertParams]:
    """Jobs to insert, args and ``InsertParams`` alike, as the latter.

    Raises:
        ValidationError: they are no list or the like.
    """
    if not isinstance(jobs, Iterable) or hasattr(jobs, "kind"):
        raise ValidationError(f"jobs {str(jobs)[:60]!r} of type {type(jobs).__name__}: use a list, or insert for one job")
    return [job if isinstance(job, InsertParams) else InsertParams(job) for job in jobs]


@dataclass(frozen=True, slots=True)
class PeriodicParams(InsertParams):
    """One turn of a periodic job: available at once, although ``at`` may lie a little ahead."""

    at: datetime = field(kw_only=True)


def _check_opts(opts: Any) -> None:
    if not isinstance(opts, InsertOpts):
        way = "InsertOpts(unique=...), or unique=" if isinstance(opts, Unique) else "InsertOpts(...)"
        raise ValidationError(f"options {opts!r}: use {way}")


class Row(NamedTuple):
    """What is written for one job."""

    args: str
    kind: str
    max_attempts: int
    metadata: str
    priority: int
    queue: str
    scheduled_at: datetime | None
    state: str
    tags: str
    unique_key: bytes | None
    unique_states: int | None


_new_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Options checked and filled in: the columns they make, what makes the job unique, and its sequence."""

    columns: tuple[int, str, int, str, datetime | None, str, str, None, None]
    unique: Unique | None
    sequence: SequenceOpts | None


def make_rows(jobs: Sequence[InsertParams], default_max_attempts: int) -> list[Row]:
    """The rows of a batch. Options that several jobs share are checked once.

    Args:
        jobs: what to insert.
        default_max_attempts: where neither job nor args type says anything.

    Raises:
        ValidationError: there are no jobs, or one of them is not valid.
    """
    if not jobs:
        raise ValidationError("no jobs to insert: pass at least one")
    choices: dict[int, _Choice] = {}
    rows = []
    for params in jobs:
        own = getattr(params.args, "insert_opts", None)
        if own is None:
            known = choices.get(id(params.opts))
            choice = known or choices.setdefault(id(params.opts), _choose(params.opts, default_max_attempts))
        else:
            choice = _choose(params.opts.over(_own_opts(params.args, own)), default_max_attempts)
        rows.append(_row(params, choice))
    return rows


def distinct(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows that stand for all others: the first one where nothing but the args differs, else all."""
    _, *others = zip(*rows, strict=True)
    return rows[:1] if all(column.count(column[0]) == len(rows) for column in others) else rows


def resolve(jobs: Sequence[InsertParams], default_max_attempts: int) -> list[InsertParams]:
    """The same jobs, checked, and with the options that they will be inserted with, for who looks at them before that.

    Args:
        jobs: what to insert.
        default_max_attempts: as for ``make_rows``.

    Raises:
        ValidationError: as for ``make_rows``.
    """
    defaults = InsertOpts(
        max_attempts=default_max_attempts,
        metadata={},
        pending=False,
        priority=PRIORITY_DEFAULT,
        queue=QUEUE_DEFAULT,
        tags=(),
    )
    known: dict[int, InsertOpts] = {}
    resolved = []
    for params in jobs:
        own = getattr(params.args, "insert_opts", None)
        if own is not None:
            opts = params.opts.over(_own_opts(params.args, own)).over(defaults)
        elif (shared := known.get(id(params.opts))) is not None:
            opts = shared
        else:
            opts = known[id(params.opts)] = params.opts.over(defaults)
        resolved.append(replace(params, opts=opts))
    make_rows(resolved, default_max_attempts)
    return resolved


def _own_opts(args: Any, own: Any) -> InsertOpts:
    """The options of an args type; a member of its args may have the same name."""
    refuse_type(args)
    if isinstance(own, InsertOpts):
        raise ValidationError(
            f"args type {type(args).__name__}: insert_opts is an InsertOpts: make it a method, "
            "`def insert_opts(self) -> InsertOpts`, that returns it"
        )
    opts: InsertOpts = own() if callable(own) else InsertOpts()
    return opts


def _row(params: InsertParams, choice: _Choice) -> Row:
    args, unique = params.args, choice.unique
    kind, encoded = check_stored_kind(kind_of(args)), encode_args(args)
    # By the tuple's own constructor, from tuples: half the time of a call with as many arguments.
    row = _new_row((encoded if params.encoded_args is None else params.encode(), kind) + choice.columns)  # noqa: RUF005
    if isinstance(params, PeriodicParams) and row.scheduled_at is None:
        row = row._replace(scheduled_at=params.at)
    if choice.sequence is not None:
        check_names("sequence by_args", choice.sequence.paths(), args, encoded)
        marks = choice.sequence.metadata(kind=kind, args=encoded, queue=row.queue)
        row = row._replace(state=JobState.PENDING.value, metadata=gojson.add_members(row.metadata, marks))
    if unique is None:
        return row
    check_names("unique by_args", unique.paths(), args, encoded)
    key = unique_key(unique, kind=kind, args=encoded, queue=row.queue, at=row.scheduled_at or datetime.now(UTC))
    return row._replace(unique_key=key, unique_states=unique.state_mask)


def _choose(opts: InsertOpts, default_max_attempts: int) -> _Choice:
    if opts.scheduled_at is not None:
        _check_time(opts.scheduled_at)
    due = JobState.AVAILABLE if opts.scheduled_at is None else JobState.SCHEDULED
    max_attempts = default_max_attempts if opts.max_attempts is None else opts.max_attempts
    priority = PRIORITY_DEFAULT if opts.priority is None else opts.priority
    columns = (
        _check_max_attempts(max_attempts),
        encode_object("metadata", opts.metadata or {}),
        _check_int("priority", priority, 1, MAX_PRIORITY),
        check_queue(opts.queue if opts.queue is not None else QUEUE_DEFAULT),
        opts.scheduled_at,
        (JobState.PENDING if opts.pending else due).value,
        _check_tags(opts.tags or ()),
        None,
        None,
    )
    if opts.sequence is not None and opts.pending:
        raise ValidationError("pending=True with a sequence: its jobs are pending until their turn anyway, leave it out")
    return _Choice(columns, opts.unique, opts.sequence)


def sequence_of(row: Row) -> bytes | None:
    """The sequence in which a row is to wait for its turn; None for none."""
    return key_in(row.metadata) if row.state == JobState.PENDING else None


def check_queue(name: str) -> str:
    """Return a queue name if River accepts it.

    Raises:
        ValidationError: it does not.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_QUEUE_LENGTH or not _QUEUE.fullmatch(name):
        raise ValidationError(
            f"queue {name!r}: use 1 to {_MAX_QUEUE_LENGTH} lower case letters and digits, in groups joined by single _, - or |"
        )
    return name


def _check_int(name: str, value: int, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValidationError(f"{name} {value!r}: use a whole number from {low} to {high}")
    return value


def _check_time(at: datetime) -> None:
    if at.tzinfo is None:
        raise ValidationError(f"scheduled_at {at}: give it a time zone, e.g. datetime.now(UTC)")
    if not FIRST_TIME <= at < END_OF_TIMES:
        raise ValidationError(
            f"scheduled_at {at}: use a time of the years {FIRST_TIME.year} to {END_OF_TIMES.year - 1}, leave it out for a job "
            "that is due at once, or use pending=True for one that nothing works"
        )


def _check_max_attempts(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"max_attempts {value!r}: use a whole number from 1 to {_MAX_SMALLINT}; more counts as that")
    return min(value, _MAX_SMALLINT)


def _check_tags(tags: Iterable[str]) -> str:
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > _MAX_TAG_LENGTH or not _TAG.fullmatch(tag):
            raise ValidationError(
                f"tag {tag!r}: use 3 to {_MAX_TAG_LENGTH} ASCII letters, digits or underscores, - allowed between them"
            )
    return ",".join(tags)


def check_distinct(rows: Sequence[Row]) -> None:
    """Raise ValidationError if two rows have the same unique key."""
    seen: dict[bytes, int] = {}
    for number, row in enumerate(rows):
        if row.unique_key is not None and seen.setdefault(row.unique_key, number) != number:
            raise ValidationError(
                f"jobs {seen[row.unique_key]} and {number} of kind {row.kind!r} have the same unique key: insert one of them"
            )
