"""The params of each method. As in Go, what is zero, empty or null counts as absent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]


NOTHING = msgspec.Raw(b"")


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of all params; without fields it is those of a method that has none."""


class Place(Strict):
    """Where to run: a schema (the connection's own if it is empty) and a named transaction."""

    schema: str = ""
    tx: str = ""


class Migrate(Strict):
    direction: str = ""
    schema: str = ""
    target_version: int = 0


class UniqueOpts(Strict):
    by_args: bool = False
    by_period_ms: int = 0
    by_queue: bool = False
    by_state: list[str] | None = None
    exclude_kind: bool = False


class Opts(Strict):
    max_attempts: int = 0
    metadata: msgspec.Raw = NOTHING
    pending: bool = False
    priority: int = 0
    queue: str = ""
    scheduled_at: Time | None = None
    tags: list[str] | None = None
    unique: UniqueOpts | None = None


class InsertJob(Strict):
    behavior: str = ""
    duration_ms: int = 0
    message: str = ""
    opts: Opts | None = None


class Insert(Place):
    jobs: list[InsertJob] | None = None


class List(Place):
    after: str = ""
    direction: str = ""
    ids: list[int] | None = None
    kinds: list[str] | None = None
    limit: int = 0
    metadata: msgspec.Raw = NOTHING
    order_by: str = ""
    priorities: list[int] | None = None
    queues: list[str] | None = None
    states: list[str] | None = None
    tags_all: list[str] | None = None


class OneJob(Place):
    id: int = 0


class DeleteMany(Strict):
    ids: list[int] | None = None
    kinds: list[str] | None = None
    limit: int = 0
    queues: list[str] | None = None
    schema: str = ""
    states: list[str] | None = None


class Update(Strict):
    id: int = 0
    output: msgspec.Raw = NOTHING
    schema: str = ""


class QueueAdd(Strict):
    max_workers: int = 0
    name: str = ""


class QueueName(Strict):
    name: str = ""
    schema: str = ""


class QueueList(Strict):
    limit: int = 0
    schema: str = ""


class QueueAction(Place):
    action: str = ""
    name: str = ""
    metadata: msgspec.Raw = NOTHING


class TxBegin(Strict):
    tx: str = ""


class TxEnd(Strict):
    tx: str = ""
    commit: bool = False


class Tuning(Strict):
    """Hints that need not be followed."""

    elect_interval_ms: int = 0
    rescuer_interval_ms: int = 0
    scheduler_interval_ms: int = 0


class Start(Strict):
    """How to work; ``periodic_every_ms`` and ``runs`` are beside the contract.

    Args:
        periodic_every_ms: insert a job at this interval, once in each.
        runs: the file that says when attempts start and end.
    """

    claim_barrier: str = ""
    client_id: str = ""
    error_handler_cancel: bool = False
    fetch_only_known_kinds: bool = False
    fetch_poll_interval_ms: int = 0
    job_timeout_ms: int = 0
    leader_election_disabled: bool = False
    max_workers: int = 0
    periodic_every_ms: int = 0
    periodic_run_on_start: bool = False
    periodic_unique: bool = False
    poll_only: bool = False
    queues: list[str] | None = None
    rescue_after_ms: int = 0
    retry_delay_ms: int = 0
    runs: str = ""
    schema: str = ""
    tuning: Tuning | None = None
    worker_kinds: list[str] | None = None


class Stop(Strict):
    cancel: bool = False


class Release(Strict):
    name: str = ""
