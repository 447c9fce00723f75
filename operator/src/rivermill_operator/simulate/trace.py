"""A user's own workload: jobs from a CSV file or from a database's history."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace

#: How long the simulation goes on after the last job could have ended.
TAIL_SECONDS = 600.0
#: The longest time that is simulated, which takes minutes where jobs run all the time. Most of what is longer is a wrong value.
LONGEST_DAYS = 8
_DAY_SECONDS = 86_400.0
_COLUMNS = ("due", "seconds", "queue", "priority", "known")
_FIRST_LINE = f"the first line names the columns, of {', '.join(_COLUMNS)}, with commas between"
_TOO_MANY = "values beyond the columns"


class TraceError(ValueError):
    """The jobs cannot be understood; the message names place, value and way out."""


@dataclass(frozen=True, slots=True)
class Past:
    """One job that ran.

    Attributes:
        due: seconds of any one clock at which it became due.
        seconds: how long it ran.
        queue, priority: River's.
        known: seconds at which its row was inserted, not after ``due``; None where that is when it became due.
        place: where it was read, for messages.
    """

    due: float
    seconds: float
    queue: str = "default"
    priority: int = 1
    known: float | None = None
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a user would write into the ``JobQueue`` for a trace; ``goals`` are of queues by name, ``goal`` of all others."""

    goal: float = 30.0
    goals: Mapping[str, float] | None = None
    slots: int = 10
    max_replicas: int = 100


def read_csv(file: Path) -> list[Past]:
    """Jobs of a file with the columns ``due`` and ``seconds``, and optionally ``queue``, ``priority`` and ``known``.

    ``due`` and ``known`` are seconds, or times as in RFC 3339; times without a zone are in UTC. One file writes all of
    them in one of these ways.

    Raises:
        TraceError: the file cannot be read, or a value is wrong.
    """
    try:
        # Spreadsheets write a byte order mark.
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restkey=_TOO_MANY, skipinitialspace=True)
            if reader.fieldnames is None:
                raise TraceError(f"{file}: the file is empty; {_FIRST_LINE}")
            _check_columns(reader.fieldnames, file)
            return list(_jobs(reader, file))
    except OSError as error:
        raise TraceError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{file}: {error.reason} at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise TraceError(f"{file}: {error}") from None


def _check_columns(names: Sequence[str], file: Path) -> None:
    wrong = [name for name in names if name not in _COLUMNS]
    twice = [name for name in names if names.count(name) > 1]
    if wrong:
        complaint = f"column {wrong[0]!r} is not known"
    elif twice:
        complaint = f"column {twice[0]!r} is there twice"
    elif not {"due", "seconds"} <= set(names):
        complaint = "columns due and seconds are needed"
    else:
        return
    raise TraceError(f"{file}: {complaint}; {_FIRST_LINE}")


@dataclass(slots=True)
class _Clock:
    """Reads the times of one file, which can be compared only if all are written in one way."""

    way: str = ""
    first: str = ""

    def read(self, text: str, column: str, place: str) -> float:
        """Seconds of a value of ``due`` or ``known``."""
        try:
            number, way = _moment(text)
        except ValueError:
            number, way = math.nan, ""
        if not math.isfinite(number):
            raise TraceError(f"{place}: {column} {text!r}: write seconds such as 12.5, or a time such as 2026-01-31T12:00:00Z")
        if not self.way:
            self.way, self.first = way, f"{column} {text!r} of {place}"
        elif way != self.way:
            raise TraceError(
                f"{place}: {column} {text!r} is {way}, but {self.first} is {self.way}; "
                "write due and known of all lines in one way"
            )
        return number


def _moment(text: str) -> tuple[float, str]:
    """Seconds, and the way in which they are written."""
    try:
        return float(text), "in seconds"
    except ValueError:
        moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC).timestamp(), "a time without zone"
    return moment.timestamp(), "a time with zone"


def _jobs(rows: csv.DictReader[str], file: Path) -> Iterator[Past]:
    clock = _Clock()
    for row in rows:
        place = f"line {rows.line_num}"
        try:
            if row.get(_TOO_MANY):
                raise TraceError(f"{place}: there are more values than columns")
            yield _job({name: (value or "").strip() for name, value in row.items()}, clock, place)
        except TraceError as error:
            raise TraceError(f"{file} {error}") from None


def _job(row: Mapping[str, str], clock: _Clock, place: str) -> Past:
    priority = row.get("priority") or "1"
    if priority not in ("1", "2", "3", "4"):
        raise TraceError(f"{place}: priority {priority!r}: use 1 (most urgent) to 4")
    due = clock.read(row["due"], "due", place)
    known = clock.read(row["known"], "known", place) if row.get("known") else None
    if known is not None and known > due:
        raise TraceError(
            f"{place}: known {row['known']!r} is after due {row['due']!r}; known is when the job was inserted: "
            "leave it empty for one that was due at once"
        )
    seconds = _seconds(row["seconds"], place)
    queue = row.get("queue") or "default"
    return Past(due, seconds, queue, int(priority), known, f"{place} (due {row['due']!r}, seconds {row['seconds']!r})")


def _seconds(text: str, place: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TraceError(f"{place}: seconds {text!r}: write how long the job ran, such as 12.5")
    if number < 0:
        raise TraceError(f"{place}: seconds {text!r}: a job cannot take less than nothing")
    return number


def build(name: str, source: str, jobs: Iterable[Past], fleet: Fleet, start: PodStart) -> Workload:
    """The workload of these jobs, beginning a minute before the first.

    Args:
        name: as the tables print it.
        source: where the jobs are from, for messages.
        jobs: in any order.
        fleet: which works them.
        start: how its pods start.

    Raises:
        TraceError: there is no job, they span too long a time, or a goal is for a queue that no job is in.
    """
    listed: Sequence[Past] = list(jobs)
    if not listed:
        raise TraceError(f"{source}: there is no job in it")
    queues = sorted({job.queue for job in listed})
    goals = dict(fleet.goals or {})
    unknown = sorted(set(goals) - set(queues))
    if unknown:
        raise TraceError(f"--goal for queue {unknown[0]!r}: no job is in it; there are {', '.join(queues)}")
    first, last = min(listed, key=lambda job: job.due), max(listed, key=_earliest_end)
    if _earliest_end(last) - first.due > LONGEST_DAYS * _DAY_SECONDS:
        raise TraceError(f"{source}: {_too_long(first, last)}")
    begin = first.due - 60.0
    rows = [(job.due - begin, job.seconds, queues.index(job.queue), job.priority, _known(job) - begin) for job in listed]
    settings = tuple(QueueSettings(queue, goals.get(queue, fleet.goal), fleet.slots) for queue in queues)
    horizon = _earliest_end(last) - begin + TAIL_SECONDS
    return Workload(name, settings, fleet.slots, make_trace(rows), horizon, fleet.max_replicas, start)


def _earliest_end(job: Past) -> float:
    return job.due + job.seconds


def _too_long(first: Past, last: Past) -> str:
    days = (_earliest_end(last) - first.due) / _DAY_SECONDS
    return (
        f"{last.place or 'the last job'} ends {days:,.0f} days after {first.place or 'the first'}, and at most {LONGEST_DAYS} "
        "days can be simulated; correct the one that is wrong (numbers are in seconds), or take a part of the jobs"
    )


def _known(job: Past) -> float:
    return job.due if job.known is None else job.known
