"""Where settings come from beside arguments: which variable of the environment and which line of the file is which setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rivermill.config_values import (
    MAX_ATTEMPTS,
    MAX_PORT,
    MAX_PRIORITY,
    MAX_WORKERS,
    QueueConfig,
    by_queue,
    read_boolean,
    read_integer,
    read_limit,
    read_mapping,
    read_names,
    read_schedule,
    read_text,
)
from rivermill.durations import parse_duration
from rivermill.errors import ConfigError
from rivermill.limit_texts import read_concurrency_limits, read_rate_limits

#: The variable that says a queue's priority where nothing says more.
PRIORITY_VARIABLES = {"default": "RIVER_QUEUE_DEFAULT_PRIORITY", "high_priority": "RIVER_QUEUE_HIGH_PRIORITY"}
_QUEUES = "queues"


@dataclass(frozen=True, slots=True)
class Source:
    """Where one setting can be written.

    Attributes:
        field: of ``Settings``.
        variable: of the environment.
        key: below ``jobs.river`` in the file; None for what may hold a password.
        read: reads what is written; takes its name for errors first.
    """

    field: str
    variable: str
    key: str | None
    read: Callable[[str, Any], Any]


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
    return partial(read_integer, low=low, high=high)


def _same(read: Callable[[str, Any], Any], *names: str) -> tuple[Source, ...]:
    """Settings whose variable and key are named as they are."""
    return tuple(Source(name, f"RIVER_{name.upper()}", name, read) for name in names)


SOURCES = (
    Source("dsn", "DATABASE_URL", None, read_text),
    Source("listener_dsn", "RIVER_LISTENER_DSN", None, read_text),
    Source("slots", "RIVER_WORKERS", "workers", _whole(1, MAX_WORKERS)),
    *_same(_whole(1, MAX_ATTEMPTS), "max_attempts"),
    *_same(_whole(0, MAX_PORT), "http_port"),
    *_same(read_text, "schema", "http_host"),
    *_same(parse_duration, "poll_interval", "fetch_cooldown", "shutdown_timeout", "rescue_after", "job_stuck_threshold"),
    *_same(read_limit, "job_timeout", "job_cleaner_timeout", "reindexer_timeout"),
    *_same(read_limit, "completed_retention", "cancelled_retention", "discarded_retention"),
    *_same(read_boolean, "poll_only", "transaction_pooler", "fetch_only_known_kinds", "leader_election_disabled"),
    *_same(read_boolean, "discard_unknown_kinds", "skip_unknown_job_check"),
    *_same(read_names, "reindexer_index_names"),
    *_same(read_schedule, "reindexer_schedule"),
    *_same(read_concurrency_limits, "concurrency_limits"),
    *_same(read_rate_limits, "rate_limits"),
)
_VARIABLES = {source.field: source.variable for source in SOURCES}


def named(field: str) -> str:
    """A setting with its variable, for errors about what does not go together."""
    return f"{field} ({_VARIABLES[field]})"


def from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment has; what is empty counts as absent.

    Raises:
        ConfigError: one is wrong.
    """
    found = [(source, env[source.variable]) for source in SOURCES if env.get(source.variable)]
    values = {source.field: source.read(source.variable, text) for source, text in found}
    if env.get("RIVER_QUEUES"):
        values[_QUEUES] = by_queue("RIVER_QUEUES", map(_parse_queue, env["RIVER_QUEUES"].split(",")))
    return values


def _parse_queue(text: str) -> tuple[str, int | QueueConfig]:
    where = f"RIVER_QUEUES part {text!r}"
    name, *numbers = text.strip().split(":")
    if not 1 <= len(numbers) <= 2:  # noqa: PLR2004 - max_workers and priority
        raise ConfigError(f"{where}: write name:max_workers or name:max_workers:priority")
    max_workers = read_integer(f"{where}, max_workers", numbers[0], 1, MAX_WORKERS)
    if len(numbers) == 1:
        return name, max_workers
    return name, QueueConfig(max_workers, read_integer(f"{where}, priority", numbers[1], 1, MAX_PRIORITY))


def from_file(path: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """The settings that a YAML file has; ``env`` may have priorities of its queues.

    Raises:
        ConfigError: the file cannot be read, or a line is wrong or unknown.
    """
    jobs = read_mapping(f"jobs in {path}", read_mapping(f"configuration file {path}", _document(path)).get("jobs") or {})
    river = read_mapping(f"jobs.river in {path}", jobs.get("river") or {})
    sources = {source.key: source for source in SOURCES if source.key is not None}
    for key in river:
        if key != _QUEUES and key not in sources:
            raise ConfigError(f"jobs.river.{key} in {path}: unknown; there are {', '.join([*sources, _QUEUES])}")
    values = {sources[key].field: sources[key].read(f"jobs.river.{key}", river[key]) for key in river if key != _QUEUES}
    if _QUEUES in river:
        queues = read_mapping("jobs.river.queues", river[_QUEUES])
        values[_QUEUES] = {str(name): _file_queue(str(name), queue, env) for name, queue in queues.items()}
    return values


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice in a mapping, of which the last would count."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set[str]()
        for name in (name for name, _ in node.value if isinstance(name, yaml.ScalarNode)):
            if name.value in seen:
                raise ConfigError(f"line {name.start_mark.line + 1}: {name.value!r} stands twice; write it once")
            seen.add(name.value)
        return node


def _document(path: Path) -> Any:
    try:
        return _Loader(path.read_text(encoding="utf-8")).get_single_data() or {}
    except OSError as error:
        wrong = error.strerror
    except UnicodeDecodeError as error:
        wrong = f"{error.reason} at byte {error.start}; save it as UTF-8"
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        wrong = f"{f'line {at.line + 1}: ' if at else ''}{error.problem or error.context}; write it as YAML"
    except yaml.YAMLError as error:
        wrong = f"{str(error).splitlines()[0]}; write it as YAML"
    except ConfigError as error:
        wrong = str(error)
    raise ConfigError(f"configuration file {path}: {wrong}")


def _file_queue(name: str, value: Any, env: Mapping[str, str]) -> int | QueueConfig:
    where = f"jobs.river.queues.{name}"
    queue = read_mapping(where, value)
    unknown = set(queue) - {"max_workers", "priority"}
    if unknown or "max_workers" not in queue:
        raise ConfigError(f"{where} {value!r}: give max_workers, and priority if you like, and nothing else")
    max_workers = read_integer(f"{where}.max_workers", queue["max_workers"], 1, MAX_WORKERS)
    priority = read_integer(f"{where}.priority", queue.get("priority", 1), 1, MAX_PRIORITY)
    return max_workers if env.get(PRIORITY_VARIABLES.get(name, "")) else QueueConfig(max_workers, priority)
