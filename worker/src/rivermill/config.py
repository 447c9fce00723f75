"""Settings of a client: arguments beat environment beats file.

Names in the environment are River's (``RIVER_*``), in YAML ``jobs.river.*``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from rivermill.cron import Cron
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError, ValidationError
from rivermill.extensions import Extensions, Hook, Middleware, Plugin
from rivermill.handlers import ErrorHandler, StuckHandler
from rivermill.insert_rows import check_queue
from rivermill.job import JobRow
from rivermill.maintenance.reindexer import INDEXES_DEFAULT
from rivermill.periodic import PeriodicJob
from rivermill.retry import default_retry_policy
from rivermill.schedules import Schedule
from rivermill.schema import Schema

_MAX_WORKERS = 10_000
_MAX_ATTEMPTS = 32_767
_MAX_PRIORITY = 1000
_PRIORITY_VARIABLES = {"default": "RIVER_QUEUE_DEFAULT_PRIORITY", "high_priority": "RIVER_QUEUE_HIGH_PRIORITY"}
#: Settings that None means something for; for all others it is as good as not given.
_NONE_IS_NO_LIMIT = (
    "job_timeout",
    "completed_retention",
    "cancelled_retention",
    "discarded_retention",
    "job_cleaner_timeout",
    "reindexer_timeout",
)
_FILE_KEYS = ("workers", "max_attempts", "poll_interval", "shutdown_timeout", "queues")


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How one process works one queue.

    Args:
        max_workers: slots this process gives to the queue, 1 to 10,000 (River's MaxWorkers).
        priority: share of free slots when there are fewer than the queues could use; higher is more urgent.
        fetch_cooldown: least time between two claims of this queue; None takes the client's.
        poll_interval: longest time between two claims while there is room; None takes the client's.

    Raises:
        ConfigError: a number or a time is out of its range.
    """

    max_workers: int
    priority: int = 1
    fetch_cooldown: timedelta | None = None
    poll_interval: timedelta | None = None

    def __post_init__(self) -> None:
        _whole("queue max_workers", self.max_workers, 1, _MAX_WORKERS)
        _whole("queue priority", self.priority, 1, _MAX_PRIORITY)
        _check_duration("queue fetch_cooldown", self.fetch_cooldown)
        _check_duration("queue poll_interval", self.poll_interval)


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
        fetch_cooldown: least time between two claims of one queue, and between two insert notifications for it.
        poll_interval: longest time between two claims of one queue while there is room.
        job_timeout: time one attempt may take where its worker says nothing; None is no limit.
        shutdown_timeout: time running jobs have after ``stop`` before they are given back.
        rescue_after: age at which a running job of an unknown client counts as lost; with a ``job_timeout`` it is an hour
            more than that, unless given.
        job_stuck_threshold: time an attempt may go on after it timed out or was cancelled, before it counts as stuck.
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
        transaction_pooler: ``dsn`` leads to a pooler that lends servers by the transaction, such as PgBouncer; needs
            ``poll_only`` or ``listener_dsn``.
        fetch_only_known_kinds: leave jobs without a worker here to other clients.
        leader_election_disabled: never lead, so never do maintenance nor insert periodic jobs.
        periodic_jobs: inserted while this client leads; ``Client.periodic_jobs`` can change them later.
        http_port: port of ``/livez``, ``/readyz`` and ``/metrics``; None serves nothing.
    """

    dsn: str = field(repr=False)
    client_id: str
    schema: Schema = Schema()
    queues: Mapping[str, QueueConfig] = field(default_factory=dict)
    slots: int | None = None
    max_attempts: int = 25
    poll_interval: timedelta = timedelta(seconds=1)
    fetch_cooldown: timedelta = timedelta(milliseconds=10)
    job_timeout: timedelta | None = timedelta(minutes=1)
    shutdown_timeout: timedelta = timedelta(seconds=30)
    rescue_after: timedelta = timedelta(hours=1)
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
        ConfigError: a setting is missing or wrong.
    """
    env = os.environ if environ is None else environ
    path = file or env.get("RIVER_CONFIG")
    values = _from_file(Path(path), env) if path else {}
    values |= _from_environment(env)
    values |= {name: value for name, value in arguments.items() if value is not None or name in _NONE_IS_NO_LIMIT}
    if values.get("job_timeout") is not None:
        values.setdefault("rescue_after", values["job_timeout"] + timedelta(hours=1))
    if not values.get("dsn"):
        raise ConfigError("DATABASE_URL is not set: set it, or pass dsn=, e.g. postgresql://app@localhost/app")
    schema = values.get("schema", "public")
    values["schema"] = schema if isinstance(schema, Schema) else Schema(schema)
    values["queues"] = _queues(values.get("queues") or {}, env)
    pod = PodIdentity(*(env.get(f"POD_{name}") or None for name in ("NAMESPACE", "NAME", "UID", "IP")))
    values.setdefault("pod", pod)
    values.setdefault("client_id", new_client_id(pod.name or socket.gethostname(), datetime.now(UTC)))
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    _whole("max_attempts", settings.max_attempts, 1, _MAX_ATTEMPTS)
    if settings.slots is not None:
        _whole("slots", settings.slots, 1, _MAX_WORKERS)
    if settings.leader_election_disabled and settings.periodic_jobs:
        raise ConfigError("periodic_jobs: a client with leader_election_disabled=True never inserts any; leave one of them out")
    if settings.job_timeout is not None and settings.rescue_after < settings.job_timeout:
        raise ConfigError(
            f"rescue_after {settings.rescue_after}: jobs may run for job_timeout {settings.job_timeout}; use more"
        )
    if not isinstance(settings.reindexer_schedule, Schedule):
        raise ConfigError(f"reindexer_schedule {settings.reindexer_schedule!r}: use Cron('0 0 * * *', UTC), Never(), …")
    for name in (*_NONE_IS_NO_LIMIT, "rescue_after", "poll_interval", "fetch_cooldown"):
        _check_duration(name, getattr(settings, name))
    for name in ("shutdown_timeout", "job_stuck_threshold"):
        _check_duration(name, getattr(settings, name), zero=True)
    if settings.poll_only and settings.listener_dsn is not None:
        raise ConfigError("listener_dsn: a client with poll_only=True does not listen; leave one of them out")
    if settings.transaction_pooler and not settings.poll_only and settings.listener_dsn is None:
        raise ConfigError("transaction_pooler: LISTEN needs a session; give listener_dsn= one, or set poll_only=True")


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, key in (("DATABASE_URL", "dsn"), ("RIVER_SCHEMA", "schema")):
        if env.get(name):
            values[key] = env[name]
    for name, key, low, high in (
        ("RIVER_WORKERS", "slots", 1, _MAX_WORKERS),
        ("RIVER_MAX_ATTEMPTS", "max_attempts", 1, _MAX_ATTEMPTS),
        ("RIVER_HTTP_PORT", "http_port", 0, 65535),
    ):
        if env.get(name):
            values[key] = _integer(name, env[name], low, high)
    for name, key in (("RIVER_POLL_INTERVAL", "poll_interval"), ("RIVER_SHUTDOWN_TIMEOUT", "shutdown_timeout")):
        if env.get(name):
            values[key] = parse_duration(name, env[name])
    if env.get("RIVER_QUEUES"):
        values["queues"] = dict(_parse_queue(part) for part in env["RIVER_QUEUES"].split(","))
    return values


def _parse_queue(text: str) -> tuple[str, int | QueueConfig]:
    where = f"RIVER_QUEUES part {text!r}"
    name, *numbers = text.strip().split(":")
    if not 1 <= len(numbers) <= 2:  # noqa: PLR2004 - max_workers and priority
        raise ConfigError(f"{where}: write name:max_workers or name:max_workers:priority")
    max_workers = _integer(f"{where}, max_workers", numbers[0], 1, _MAX_WORKERS)
    if len(numbers) == 1:
        return name, max_workers
    return name, QueueConfig(max_workers, _integer(f"{where}, priority", numbers[1], 1, _MAX_PRIORITY))


def _from_file(path: Path, env: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"configuration file {path}: {error}") from error
    river = _mapping(_mapping(_mapping(document, f"{path}").get("jobs") or {}, "jobs").get("river") or {}, "jobs.river")
    for key in river:
        if key not in _FILE_KEYS:
            raise ConfigError(f"jobs.river.{key} in {path}: unknown; there are {', '.join(_FILE_KEYS)}")
    values: dict[str, Any] = {}
    if "workers" in river:
        values["slots"] = _integer("jobs.river.workers", river["workers"], 1, _MAX_WORKERS)
    if "max_attempts" in river:
        values["max_attempts"] = _integer("jobs.river.max_attempts", river["max_attempts"], 1, _MAX_ATTEMPTS)
    for key in ("poll_interval", "shutdown_timeout"):
        if key in river:
            values[key] = parse_duration(f"jobs.river.{key}", river[key])
    if "queues" in river:
        values["queues"] = {
            str(name): _file_queue(str(name), queue, env)
            for name, queue in _mapping(river["queues"], "jobs.river.queues").items()
        }
    return values


def _file_queue(name: str, value: Any, env: Mapping[str, str]) -> int | QueueConfig:
    where = f"jobs.river.queues.{name}"
    queue = _mapping(value, where)
    unknown = set(queue) - {"max_workers", "priority"}
    if unknown or "max_workers" not in queue:
        raise ConfigError(f"{where} {value!r}: give max_workers, and priority if you like, and nothing else")
    max_workers = _integer(f"{where}.max_workers", queue["max_workers"], 1, _MAX_WORKERS)
    priority = _integer(f"{where}.priority", queue.get("priority", 1), 1, _MAX_PRIORITY)
    return max_workers if env.get(_PRIORITY_VARIABLES.get(name, "")) else QueueConfig(max_workers, priority)


def _queues(queues: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, QueueConfig]:
    result = {}
    for name, value in queues.items():
        try:
            check_queue(name)
        except ValidationError as error:
            raise ConfigError(str(error)) from error
        config, variable = queue_config(name, value), _PRIORITY_VARIABLES.get(name, "")
        if not isinstance(value, QueueConfig) and env.get(variable):
            config = replace(config, priority=_integer(variable, env[variable], 1, _MAX_PRIORITY))
        result[name] = config
    return result


def queue_config(name: str, value: Any) -> QueueConfig:
    """What is given for a queue, or for its ``max_workers`` alone.

    Raises:
        ConfigError: the number is out of its range.
    """
    if isinstance(value, QueueConfig):
        return value
    _whole(f"queue {name!r}, max_workers", value, 1, _MAX_WORKERS)
    return QueueConfig(value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} {value!r}: must be a mapping")
    return value


def _integer(name: str, value: Any, low: int, high: int) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} {value!r}: use a whole number from {low} to {high}") from None
    _whole(name, number, low, high)
    return number


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} {value!r}: use a whole number from {low} to {high}")


def _check_duration(name: str, value: Any, *, zero: bool = False) -> None:
    if value is not None and (not isinstance(value, timedelta) or value < timedelta(0) or (not value and not zero)):
        raise ConfigError(f"{name} {value}: use a timedelta {'of zero or more' if zero else 'above zero'}")
