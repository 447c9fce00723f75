"""A user's own workload: jobs from a CSV file or from a database's history."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace

#: How long the simulation goes on after the last job became due.
TAIL_SECONDS = 600.0
_COLUMNS = ("due", "seconds", "queue", "priority", "known")


class TraceError(ValueError):
    """The jobs cannot be understood; the message names place, value and way out."""


@dataclass(frozen=True, slots=True)
class Past:
    """One job that ran: when it became due and was known of, in seconds of any one clock, and how long it ran."""

    due: float
    seconds: float
    queue: str = "default"
    priority: int = 1
    known: float | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a user would write into the ``JobQueue`` for a trace; ``goals`` are of queues by name, ``goal`` of all others."""

    goal: float = 30.0
    goals: Mapping[str, float] | None = None
    slots: int = 10
    max_replicas: int = 100


def read_csv(file: Path) -> list[Past]:
    """Jobs of a file with the columns ``due`` and ``seconds``, and optionally ``queue``, ``priority`` and ``known``.

    ``due`` and ``known`` are seconds, or times as in RFC 3339.

    Raises:
        TraceError: the file cannot be read, or a value is wrong.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            names = reader.fieldnames or []
            wrong = [name for name in names if name not in _COLUMNS]
            if wrong or not {"due", "seconds"} <= set(names):
                complaint = f"column {wrong[0]!r} is not known" if wrong else "due and seconds are needed"
                raise TraceError(f"{file}: {complaint}; the first line names the columns, of {', '.join(_COLUMNS)}")
            return [_job(row, f"{file} line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{file}: {error}") from None


def _job(row: Mapping[str, str | None], place: str) -> Past:
    priority = row.get("priority") or "1"
    if priority not in ("1", "2", "3", "4"):
        raise TraceError(f"{place}: priority {priority!r}: use 1 (most urgent) to 4")
    seconds = _number(row["seconds"], f"{place}: seconds")
    if seconds < 0:
        raise TraceError(f"{place}: seconds {seconds:g}: a job cannot take less than nothing")
    known = row.get("known")
    return Past(
        due=_number(row["due"], f"{place}: due"),
        seconds=seconds,
        queue=row.get("queue") or "default",
        priority=int(priority),
        known=_number(known, f"{place}: known") if known else None,
    )


def _number(text: str | None, what: str) -> float:
    for convert in (float, lambda value: datetime.fromisoformat(value).timestamp()):
        try:
            number = convert(text or "")
        except ValueError:
            continue
        if abs(number) < float("inf"):
            return number
    raise TraceError(f"{what} {text!r}: write seconds such as 12.5, or a time such as 2026-01-31T12:00:00Z")


def build(name: str, jobs: Iterable[Past], fleet: Fleet, start: PodStart) -> Workload:
    """The workload of these jobs, beginning a minute before the first.

    Raises:
        TraceError: there is no job, or a goal is for a queue that no job is in.
    """
    listed: Sequence[Past] = list(jobs)
    if not listed:
        raise TraceError(f"{name}: there is no job in it")
    queues = sorted({job.queue for job in listed})
    goals = dict(fleet.goals or {})
    unknown = sorted(set(goals) - set(queues))
    if unknown:
        raise TraceError(f"goal for queue {unknown[0]!r}: no job is in it; there are {', '.join(queues)}")
    begin = min(job.due for job in listed) - 60.0
    rows = [
        (job.due - begin, job.seconds, queues.index(job.queue), job.priority, min(job.due, _known(job)) - begin)
        for job in listed
    ]
    settings = tuple(QueueSettings(queue, goals.get(queue, fleet.goal), fleet.slots) for queue in queues)
    trace = make_trace(rows)
    horizon = max(trace.due) + TAIL_SECONDS
    return Workload(name, settings, fleet.slots, trace, horizon, fleet.max_replicas, start)


def _known(job: Past) -> float:
    return job.due if job.known is None else job.known
