"""Settings of a client: arguments beat environment beats file.

Names in the environment are River's (``RIVER_*``), in YAML ``jobs.river.*``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rivermill.config_sources import PRIORITY_VARIABLES, from_environment, from_file, named
from rivermill.config_values import (
    MAX_ATTEMPTS,
    MAX_PORT,
    MAX_PRIORITY,
    MAX_WORKERS,
    QueueConfig,
    check_duration,
    check_list,
    check_mapping,
    check_switch,
    check_whole,
    read_integer,
)
from rivermill.cron import Cron
from rivermill.database_url import UrlError
from rivermill.database_url import check as check_url
from rivermill.errors import ConfigError, ValidationError
from rivermill.extensions import Extensions, Hook, Middleware, Plugin
from rivermill.handlers import ErrorHandler, StuckHandler, check_error_handler, check_stuck_handler
from rivermill.insert_rows import check_queue
from rivermill.job import JobRow
from rivermill.limits import Concurrency, RateLimit
from rivermill.maintenance.reindexer import INDEXES_DEFAULT
from rivermill.periodic import PeriodicJob
from rivermill.retry import default_retry_policy
from rivermill.schedules import Schedule
from rivermill.schema import Schema

__all__ = ["PodIdentity", "QueueConfig", "Settings", "load_settings", "new_client_id", "queue_config"]

#: River's limit; the leader's id is at most 127 characters in its table.
_MAX_CLIENT_ID = 100
#: Settings that None means something for; for all others it is as good as not given.
_NONE_IS_NO_LIMIT = (
    "job_timeout",
    "completed_retention",
    "cancelled_retention",
    "discarded_retention",
    "job_cleaner_timeout",
    "reindexer_timeout",
)
#: What is true or false.
_SWITCHES = (
    "discard_unknown_kinds",
    "poll_only",
    "transaction_pooler",
    "fetch_only_known_kinds",
    "skip_unknown_job_check",
    "leader_election_disabled",
)


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Where this process runs in Kubernetes, from the downward API; all None elsewhere."""

    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of one client, complete.

    Attributes:
        slots: jobs this process runs at once over all queues; None is the sum of the queues' ``max_workers``.
        concurrency_limits: by queue; each start of a client that works the queue writes it into the queue's row.
        rate_limits: the same of starts.
        fetch_cooldown: least time between two claims of one queue, and between two insert notifications for it.
        poll_interval: longest time between two claims of one queue while there is room.
        job_timeout: time one attempt may take where its worker says nothing; None is no limit.
        shutdown_timeout: time running jobs have after ``stop`` before they are given back.
        rescue_after: age at which a running job of an unknown client counts as lost; with a ``job_timeout`` it is an hour
            more than that, unless given.
        discard_unknown_kinds: the leader discards lost jobs of kinds that it has no worker for, as River's does, instead of
            leaving them to the clients that have one.
        job_stuck_threshold: time an attempt may go on after it timed out or was cancelled, before it counts as stuck;
            an error handler may take as long, and 10 s at least.
        job_stuck_handler: told of each stuck job.
        error_handler: sees each failed attempt.
        retry_policy: when a failed job runs again; ``job.errors`` are the failures before.
        hooks: run before and after what they override, see ``rivermill.extensions``.
        middleware: runs around inserts and attempts.
        plugins: hooks and middleware in one, before the others.
        job_cleaner_timeout: the most that deleting a batch of old jobs may take; None is no limit.
        reindexer_index_names: indexes that the leader rebuilds; none of them turns that off.
        reindexer_schedule: when it does.
        reindexer_timeout: the most that rebuilding one index may take; None is no limit.
        poll_only: never LISTEN: look for work, cancellations and paused queues at intervals only.
        listener_dsn: where to LISTEN, if not at ``dsn``; must be a real session.
        transaction_pooler: ``dsn`` leads to a pooler that lends servers by the transaction, such as PgBouncer; a client that
            works jobs needs ``poll_only`` or ``listener_dsn`` then.
        fetch_only_known_kinds: leave jobs without a worker here to other clients.
        skip_unknown_job_check: insert jobs of any kind, also of those that only other clients work.
        leader_election_disabled: never lead, so never do maintenance nor insert periodic jobs.
        periodic_jobs: inserted while this client leads; ``Client.periodic_jobs`` can change them later.
        http_port: port of ``/livez``, ``/readyz`` and ``/metrics``; None serves nothing.
    """

    dsn: str = field(repr=False)
    client_id: str
    schema: Schema = Schema()
    queues: Mapping[str, QueueConfig] = field(default_factory=dict)
    slots: int | None = None
    concurrency_limits: Mapping[str, Concurrency] = field(default_factory=dict)
    rate_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    max_attempts: int = 25
    poll_interval: timedelta = timedelta(seconds=1)
    fetch_cooldown: timedelta = timedelta(milliseconds=1)
    job_timeout: timedelta | None = timedelta(minutes=1)
    shutdown_timeout: timedelta = timedelta(seconds=30)
    rescue_after: timedelta = timedelta(hours=1)
    discard_unknown_kinds: bool = False
    completed_retention: timedelta | None = timedelta(hours=24)
    cancelled_retention: timedelta | None = timedelta(hours=24)
    discarded_retention: timedelta | None = timedelta(days=7)
    job_cleaner_timeout: timedelta | None = timedelta(seconds=30)
    reindexer_index_names: Sequence[str] = INDEXES_DEFAULT
    reindexer_schedule: Schedule = Cron("0 0 * * *", UTC)
    reindexer_timeout: timedelta | None = timedelta(minutes=1)
    job_stuck_threshold: timedelta = timedelta(seconds=10)
    job_stuck_handler: StuckHandler | None = None
    error_handler: ErrorHandler | None = None
    retry_policy: Callable[[JobRow], datetime] = default_retry_policy
    hooks: Sequence[Hook] = ()
    middleware: Sequence[Middleware] = ()
    plugins: Sequence[Plugin] = ()
    poll_only: bool = False
    listener_dsn: str | None = field(default=None, repr=False)
    transaction_pooler: bool = False
    fetch_only_known_kinds: bool = False
    skip_unknown_job_check: bool = False
    leader_election_disabled: bool = False
    periodic_jobs: Sequence[PeriodicJob] = ()
    pod: PodIdentity = PodIdentity()
    http_host: str | None = None
    http_port: int | None = None

    @property
    def extensions(self) -> Extensions:
        """Hooks, middleware and plugins, sorted by what they override.

        Raises:
            ConfigError: one is not of the class its list is for.
        """
        return Extensions.of(hooks=self.hooks, middleware=self.middleware, plugins=self.plugins)

    def check_intervals(self, name: str, config: QueueConfig) -> None:
        """Check the intervals of a queue, its own or the client's.

        Raises:
            ConfigError: ``poll_interval`` is shorter than ``fetch_cooldown``, as River refuses it.
        """
        cooldown, interval = config.fetch_cooldown or self.fetch_cooldown, config.poll_interval or self.poll_interval
        if interval < cooldown:
            raise ConfigError(f"queue {name!r}, poll_interval {interval}: use its fetch_cooldown, {cooldown}, or more")


def new_client_id(host: str, started: datetime) -> str:
    """River's form of a client id: host (dots become ``_``, 60 characters at most) and the start time in UTC."""
    return f"{host.replace('.', '_')[:60]}_{started.astimezone(UTC).strftime('%Y_%m_%dT%H_%M_%S_%f')}"


def load_settings(*, environ: Mapping[str, str] | None = None, file: str | Path | None = None, **arguments: Any) -> Settings:
    """Settings from keyword arguments, the environment and a YAML file, in this order of precedence.

    Args:
        environ: the environment; None is the process's.
        file: a YAML file with ``jobs.river.*``; None takes ``RIVER_CONFIG``, if that is set.
        arguments: any field of ``Settings``; None counts as not given, but for time limits and retentions.
            ``schema`` may be a name, and a value of ``queues`` a number of workers, which leaves the queue's priority to
            the environment.

    Raises:
        ConfigError: a setting is missing, wrong or unknown.
    """
    _check_known(arguments)
    env = os.environ if environ is None else environ
    path = file or env.get("RIVER_CONFIG")
    values = from_file(Path(path), env) if path else {}
    values |= from_environment(env)
    values |= {name: value for name, value in arguments.items() if value is not None or name in _NONE_IS_NO_LIMIT}
    if isinstance(values.get("job_timeout"), timedelta):
        values.setdefault("rescue_after", values["job_timeout"] + timedelta(hours=1))
    if not values.get("dsn"):
        raise ConfigError(
            "DATABASE_URL is not set: set it, or give --database-url (dsn= in Python), e.g. postgresql://app@localhost/app"
        )
    schema = values.get("schema", "public")
    values["schema"] = schema if isinstance(schema, Schema) else Schema(schema)
    values["queues"] = _queues(values.get("queues") or {}, env)
    pod = PodIdentity(*(env.get(f"POD_{name}") or None for name in ("NAMESPACE", "NAME", "UID", "IP")))
    values.setdefault("pod", pod)
    values.setdefault("client_id", new_client_id(pod.name or socket.gethostname(), datetime.now(UTC)))
    settings = Settings(**values)
    _check(settings)
    return settings


def _check_known(arguments: Mapping[str, Any]) -> None:
    known = [one.name for one in fields(Settings)]
    for name in arguments:
        if name not in known:
            # Where River has a setting that is one of a queue's here.
            near = get_close_matches(name, [*known, "max_workers"], n=1)
            way = "queues={'default': 10}" if near == ["max_workers"] else f"{near[0]}=" if near else ""
            raise ConfigError(
                f"{name}: there is no such setting; " + (f"did you mean {way}?" if way else f"use {', '.join(known)}")
            )


def _check(settings: Settings) -> None:
    _check_types(settings)
    if not isinstance(settings.client_id, str) or not 1 <= len(settings.client_id) <= _MAX_CLIENT_ID:
        raise ConfigError(f"client_id {settings.client_id!r}: use 1 to {_MAX_CLIENT_ID} characters")
    check_whole("max_attempts", settings.max_attempts, 1, MAX_ATTEMPTS)
    if settings.slots is not None:
        check_whole("slots", settings.slots, 1, MAX_WORKERS)
    if settings.leader_election_disabled and settings.periodic_jobs:
        raise ConfigError(
            f"periodic_jobs: a client with {named('leader_election_disabled')} never inserts any; leave one of them out"
        )
    if settings.job_timeout is not None and settings.rescue_after < settings.job_timeout:
        raise ConfigError(
            f"{named('rescue_after')} {settings.rescue_after}: jobs may run for {named('job_timeout')} "
            f"{settings.job_timeout}; use more"
        )
    if settings.poll_interval < settings.fetch_cooldown:
        least = f"{named('fetch_cooldown')}, {settings.fetch_cooldown}, or more"
        raise ConfigError(f"{named('poll_interval')} {settings.poll_interval}: use {least}")
    for name, config in settings.queues.items():
        settings.check_intervals(name, config)
    _check_limits("concurrency_limits", settings.concurrency_limits, Concurrency)
    _check_limits("rate_limits", settings.rate_limits, RateLimit)
    if not isinstance(settings.reindexer_schedule, Schedule):
        raise ConfigError(f"reindexer_schedule {settings.reindexer_schedule!r}: use Cron('0 0 * * *', UTC), Never(), …")
    if settings.listener_dsn is not None:
        _check_listener_dsn(settings.listener_dsn)
    if settings.poll_only and settings.listener_dsn is not None:
        raise ConfigError(f"{named('listener_dsn')}: a client with {named('poll_only')} does not listen; leave one of them out")


def check_listening(settings: Settings) -> None:
    """Check that a client which is started can listen for jobs; others never do, whatever queues a shared environment names.

    Raises:
        ConfigError: it would listen through a transaction pooler.
    """
    if settings.transaction_pooler and not settings.poll_only and settings.listener_dsn is None:
        raise ConfigError(
            f"{named('transaction_pooler')}: LISTEN needs a session; give {named('listener_dsn')} one, "
            f"or set {named('poll_only')}"
        )


def _check_listener_dsn(dsn: Any) -> None:
    """Before it is used, while an error about it can still be told from one about ``dsn``."""
    if not isinstance(dsn, str):
        raise ConfigError(f"{named('listener_dsn')}: use a text, such as postgresql://app@localhost/app")
    try:
        check_url(dsn)
    except UrlError as error:
        raise ConfigError(f"{named('listener_dsn')}: {error}") from None


def _check_types(settings: Settings) -> None:
    for name in (*_NONE_IS_NO_LIMIT, "rescue_after", "poll_interval", "fetch_cooldown"):
        check_duration(name, getattr(settings, name))
    for name in ("shutdown_timeout", "job_stuck_threshold"):
        check_duration(name, getattr(settings, name), zero=True)
    for name in _SWITCHES:
        check_switch(name, getattr(settings, name))
    check_list("reindexer_index_names", settings.reindexer_index_names, "['river_job_args_index']", of=str)
    if settings.http_port is not None:
        check_whole("http_port", settings.http_port, 0, MAX_PORT)
    check_error_handler(settings.error_handler)
    check_stuck_handler(settings.job_stuck_handler)
    if not callable(settings.retry_policy):
        raise ConfigError(f"retry_policy {settings.retry_policy!r}: use a function of a JobRow that returns a time")


def _check_limits(name: str, limits: Mapping[str, Any], kind: type) -> None:
    example = "Concurrency(5)" if kind is Concurrency else "RateLimit(5, timedelta(seconds=1))"
    check_mapping(name, limits, f"{{'default': {example}}}")
    for queue, limit in limits.items():
        _check_queue(queue)
        if not isinstance(limit, kind):
            raise ConfigError(f"{name}, queue {queue!r}, {limit!r}: use a {kind.__name__}")


def _check_queue(name: str) -> None:
    try:
        check_queue(name)
    except ValidationError as error:
        raise ConfigError(str(error)) from error


def _queues(queues: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, QueueConfig]:
    check_mapping("queues", queues, "{'default': 10}")
    result = {}
    for name, value in queues.items():
        _check_queue(name)
        config, variable = queue_config(name, value), PRIORITY_VARIABLES.get(name, "")
        if not isinstance(value, QueueConfig) and env.get(variable):
            config = replace(config, priority=read_integer(variable, env[variable], 1, MAX_PRIORITY))
        result[name] = config
    return result


def queue_config(name: str, value: Any) -> QueueConfig:
    """What is given for a queue, or for its ``max_workers`` alone.

    Raises:
        ConfigError: the number is out of its range.
    """
    if isinstance(value, QueueConfig):
        return value
    check_whole(f"queue {name!r}, max_workers", value, 1, MAX_WORKERS)
    return QueueConfig(value)
