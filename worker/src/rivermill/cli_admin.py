"""``rivermill enqueue``, ``rivermill job …`` and ``rivermill queue …``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from rivermill.cli_types import kind, moment, priority
from rivermill.client import Client
from rivermill.command_line import add_command, whole
from rivermill.config_values import is_none
from rivermill.durations import parse_duration
from rivermill.errors import ValidationError
from rivermill.insert_rows import InsertOpts
from rivermill.job import JobRow, JobState
from rivermill.joblist import MAX_LIST, JobListCursor, JobListOrder, JobListParams
from rivermill.limit_texts import parse_concurrency, parse_rate
from rivermill.queues import ALL_QUEUES, Queue
from rivermill.sequences import SequenceOpts
from rivermill.unique import Unique

_JOB_COLUMNS = ("id", "state", "kind", "queue", "priority", "attempt", "max_attempts", "scheduled_at")
_STATES = tuple(state.value for state in JobState)
_QUEUE_COLUMNS = ("name", "paused_at", "updated_at")


class _RawArgs(dict[str, Any]):
    """Args given as JSON on the command line."""

    kind: str


def add_admin_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add ``enqueue``, ``job`` and ``queue``."""
    output = argparse.ArgumentParser(add_help=False, parents=[shared])
    output.add_argument("--json", action="store_true", help="print JSON")
    _add_enqueue(commands, output)
    jobs = add_command(commands, "job", "look at and change jobs").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    for action in ("get", "cancel", "retry", "delete"):
        parser = add_command(jobs, action, f"{action} one job", parents=[output])
        parser.add_argument("id", type=whole, metavar="ID")
        parser.set_defaults(run=_job)
    listing = add_command(jobs, "list", "list jobs; several values of one option are alternatives", parents=[output])
    listing.add_argument("--state", action="append", default=[], choices=_STATES, metavar="STATE", help=", ".join(_STATES))
    listing.add_argument("--kind", action="append", default=[])
    listing.add_argument("--queue", action="append", default=[], metavar="NAME")
    listing.add_argument("--id", type=whole, action="append", default=[])
    listing.add_argument("--priority", type=priority, action="append", default=[], metavar="N", help="1 (most urgent) to 4")
    listing.add_argument("--tag", action="append", default=[], help="jobs with all of these tags")
    listing.add_argument("--any-tag", action="append", default=[], metavar="TAG", help="jobs with one of these tags")
    listing.add_argument("--metadata", metavar="JSON", help="jobs whose metadata contain this object")
    listing.add_argument("--after", metavar="CURSOR", help="the next page, as the page before names it")
    listing.add_argument("--order-by", default="id", choices=[order.value for order in JobListOrder])
    listing.add_argument("--limit", type=whole, default=100, metavar="N", help="how many at most (default: %(default)s)")
    listing.add_argument("--newest", action="store_true", help="newest first")
    listing.set_defaults(run=_job_list)
    queues = add_command(commands, "queue", "list, pause, resume and limit queues").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    add_command(queues, "list", "list queues", parents=[output]).set_defaults(run=_queue_list)
    for action in ("pause", "resume"):
        parser = add_command(queues, action, f"{action} a queue, or all with *", parents=[output])
        parser.add_argument("name", metavar="QUEUE")
        parser.set_defaults(run=_queue_switch)
    limit = add_command(queues, "limit", "limit how many jobs of a queue run at once", parents=[output])
    limit.add_argument("name", metavar="QUEUE")
    limit.add_argument("limit", metavar="LIMIT", help="e.g. 5, or 1:args.customer_id for each customer; none ends it")
    limit.set_defaults(run=_queue_limit)
    rate = add_command(queues, "rate-limit", "limit how many jobs of a queue start in a period", parents=[output])
    rate.add_argument("name", metavar="QUEUE")
    rate.add_argument("limit", metavar="LIMIT", help="e.g. 100/1s, or 100/1s:kind for each kind; none ends it")
    rate.set_defaults(run=_queue_rate_limit)


def _add_enqueue(commands: Any, output: argparse.ArgumentParser) -> None:
    parser = add_command(commands, "enqueue", "insert a job", parents=[output])
    parser.add_argument("kind", type=kind, metavar="KIND", help="e.g. library_scan")
    parser.add_argument("args", nargs="?", default="{}", metavar="ARGS", help="a JSON object (default: {})")
    parser.add_argument("--queue", metavar="NAME", help="default: default")
    parser.add_argument("--priority", type=priority, metavar="N", help="1 (most urgent, the default) to 4")
    parser.add_argument("--max-attempts", type=whole, metavar="N")
    parser.add_argument("--scheduled-at", type=moment, metavar="TIME", help="run it no earlier, e.g. 2026-01-31T12:00:00Z")
    parser.add_argument("--tag", action="append", default=[], help="a label of the job; again for each")
    parser.add_argument("--metadata", metavar="JSON", help="a JSON object kept beside the args")
    parser.add_argument(
        "--unique",
        action="append",
        default=[],
        metavar="BY",
        help="insert no duplicate: args, args.PATH, queue, period=1h; exclude_kind looks across kinds",
    )
    parser.add_argument(
        "--sequence",
        action="append",
        default=[],
        metavar="BY",
        help="run after those before it with the same kind, args, args.PATH or queue; exclude_kind looks across kinds",
    )
    parser.add_argument(
        "--continue-on",
        action="append",
        default=[],
        choices=["cancelled", "discarded"],
        help="the sequence goes on after this job if it is cancelled or discarded",
    )
    parser.set_defaults(run=_enqueue)


def _client(options: argparse.Namespace) -> Client:
    return Client(options.dsn, schema=options.schema, file=options.config)


async def _enqueue(options: argparse.Namespace) -> int:
    args = _RawArgs(_object("args", options.args))
    args.kind = options.kind
    opts = InsertOpts(
        queue=options.queue,
        priority=options.priority,
        max_attempts=options.max_attempts,
        scheduled_at=options.scheduled_at,
        tags=options.tag,
        metadata=_object("--metadata", options.metadata) if options.metadata else None,
        unique=parse_unique(options.unique),
        sequence=parse_sequence(options.sequence, options.continue_on),
    )
    async with _client(options) as client:
        result = await client.insert(args, opts)
    _show([result.job], _JOB_COLUMNS, options)
    if result.unique_skipped_as_duplicate:
        sys.stderr.write(f"nothing inserted: job {result.job.id} is the same\n")
    return 0


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValidationError(f"{name} {text!r}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValidationError(f"{name} {text!r}: must be a JSON object")
    return value


def parse_unique(texts: Sequence[str]) -> Unique | None:
    """Read the values of ``--unique``; None when there are none.

    Raises:
        ValidationError: one is not ``args``, ``args.PATH``, ``queue``, ``period=DURATION`` or ``exclude_kind``, or they do
            not go together.
    """
    if not texts:
        return None
    periods = [text.removeprefix("period=") for text in texts if text.startswith("period=")]
    others = [text for text in texts if not text.startswith("period=")]
    by_args = _members("--unique", others, ("queue", "period=1h", "exclude_kind"))
    if len(periods) > 1:
        raise ValidationError(f"--unique {' '.join(texts)}: say one period")
    return Unique(
        by_args=by_args,
        by_queue="queue" in others,
        by_period=parse_duration("--unique period", periods[0]) if periods else None,
        exclude_kind="exclude_kind" in others,
    )


def parse_sequence(texts: Sequence[str], continue_on: Sequence[str] = ()) -> SequenceOpts | None:
    """Read the values of ``--sequence`` and of ``--continue-on``; None when there are none.

    Raises:
        ValidationError: one is not ``kind``, ``args``, ``args.PATH``, ``queue`` or ``exclude_kind``, or they do not go
            together.
    """
    if not texts and continue_on:
        raise ValidationError(f"--continue-on {continue_on[0]}: only jobs with --sequence are in one")
    if not texts:
        return None
    by_args = _members("--sequence", texts, ("kind", "queue", "exclude_kind"))
    if "kind" in texts and "exclude_kind" in texts:
        raise ValidationError("--sequence kind exclude_kind: say one of them")
    return SequenceOpts(
        by_args=by_args,
        by_queue="queue" in texts,
        exclude_kind="exclude_kind" in texts,
        continue_on_cancelled="cancelled" in continue_on,
        continue_on_discarded="discarded" in continue_on,
    )


def _members(option: str, texts: Sequence[str], others: Sequence[str]) -> bool | list[str]:
    """Which args count, of an option that takes ``args``, ``args.PATH`` and ``others``."""
    paths = [text.removeprefix("args.") for text in texts if text.startswith("args.")]
    unknown = sorted({text for text in texts if not text.startswith("args.")} - {"args", *others})
    if unknown:
        raise ValidationError(f"{option} {unknown[0]!r}: use args, args.PATH, {', '.join(others[:-1])} or {others[-1]}")
    if "args" in texts and paths:
        raise ValidationError(f"{option} {' '.join(texts)}: say either args or its paths")
    return paths or "args" in texts


async def _job(options: argparse.Namespace) -> int:
    async with _client(options) as client:
        methods = {
            "get": client.job_get,
            "cancel": client.cancel,
            "retry": client.job_retry,
            "delete": client.job_delete,
        }
        row: JobRow = await methods[options.action](options.id)
    _show([row], _JOB_COLUMNS, options)
    if options.action == "get" and not options.json:
        for error in row.errors:
            print(f"attempt {error.attempt} at {error.at}: {error.error}")
    return 0


async def _job_list(options: argparse.Namespace) -> int:
    async with _client(options) as client:
        page = await client.job_list(
            JobListParams(
                kinds=options.kind,
                queues=options.queue,
                states=[JobState(state) for state in options.state],
                ids=options.id,
                priorities=options.priority,
                tags_all=options.tag,
                tags_any=options.any_tag,
                metadata=_object("--metadata", options.metadata) if options.metadata else None,
                after=JobListCursor.decode(options.after) if options.after else None,
                order_by=JobListOrder(options.order_by),
                limit=options.limit,
                descending=options.newest,
            )
        )
    _show(page.jobs, _JOB_COLUMNS, options)
    if page.last_cursor is not None and len(page.jobs) == options.limit:
        sys.stderr.write(f"there may be more: --after {page.last_cursor.encode()}\n")
    return 0


async def _queue_list(options: argparse.Namespace) -> int:
    async with _client(options) as client:
        _show(await client.queue_list(limit=MAX_LIST), _QUEUE_COLUMNS, options)
    return 0


async def _queue_switch(options: argparse.Namespace) -> int:
    async with _client(options) as client:
        await (client.queue_pause if options.action == "pause" else client.queue_resume)(options.name)
        everything = options.name == ALL_QUEUES
        queues = await client.queue_list(limit=MAX_LIST) if everything else [await client.queue_get(options.name)]
    if options.json:
        _show(queues, _QUEUE_COLUMNS, options)
    else:
        print(f"queue {options.name} {'paused' if options.action == 'pause' else 'resumed'}")
    return 0


async def _queue_limit(options: argparse.Namespace) -> int:
    concurrency = None if is_none(options.limit) else parse_concurrency("LIMIT", options.limit)
    async with _client(options) as client:
        queue = await client.queue_limit(options.name, concurrency)
    return _show_limited(queue, options)


async def _queue_rate_limit(options: argparse.Namespace) -> int:
    rate = None if is_none(options.limit) else parse_rate("LIMIT", options.limit)
    async with _client(options) as client:
        queue = await client.queue_rate_limit(options.name, rate)
    return _show_limited(queue, options)


def _show_limited(queue: Queue, options: argparse.Namespace) -> int:
    if options.json:
        _show([queue], _QUEUE_COLUMNS, options)
    else:
        print(f"queue {queue.name}: {options.action} {options.limit}")
    return 0


def _show(rows: Sequence[Any], columns: Sequence[str], options: argparse.Namespace) -> None:
    if options.json:
        values = [asdict(row) for row in rows]
        print(json.dumps(values, default=_plain, indent=2))
        return
    table = [columns, *([_cell(getattr(row, name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)
