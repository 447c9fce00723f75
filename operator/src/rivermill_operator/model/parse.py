"""A ``JobQueue`` object as the API server gives it → ``JobQueue``, with every default filled in.

The API server has checked it against the CRD; this still says what is wrong: with objects of an older CRD, and with what a
schema cannot tell, such as a time zone that does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rivermill_operator.model.cron import Cron, CronError
from rivermill_operator.model.spec import (
    DatabaseSpec,
    DeletionPolicy,
    FallbackSpec,
    JobQueue,
    JobQueueSpec,
    Migrate,
    Mode,
    QueueSpec,
    RolloutSpec,
    RolloutStrategy,
    ScaleInSpec,
    ScalingSpec,
    ScheduleSpec,
    WorkerSpec,
)
from rivermill_operator.model.template import TemplateError, check_template, shown

_Choice = TypeVar("_Choice", bound=StrEnum)
_Part = TypeVar("_Part")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SHORTEST_SECONDS, LONGEST_SECONDS = 0.001, 8760 * 3600.0
_MOST = 2**31 - 1
_PODS_OR_PERCENT = re.compile(r"[1-9][0-9]{0,4}%?")
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_SCHEMA = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,45}")


class SpecError(ValueError):
    """The spec is wrong; the message begins with the path of the field."""


def parse_job_queue(body: Mapping[str, Any]) -> JobQueue:
    """Parse one object.

    Raises:
        SpecError: a field is missing or wrong.
    """
    return _job_queue(body, parse_spec(_Node("spec", body.get("spec"))), None)


def read_job_queue(body: Mapping[str, Any]) -> JobQueue:
    """Parse one object, or what can be read of it: enough to name it, to say what is wrong, and to wind its fleet down."""
    try:
        return parse_job_queue(body)
    except SpecError as error:
        spec = body.get("spec")
        return _job_queue(body, _salvage(_Node("spec", spec if isinstance(spec, Mapping) else {})), str(error))


def _job_queue(body: Mapping[str, Any], spec: JobQueueSpec, wrong: str | None) -> JobQueue:
    meta = body["metadata"]
    return JobQueue(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation", 1)),
        spec=spec,
        created=str(meta.get("creationTimestamp", "")),
        deleting=meta.get("deletionTimestamp") is not None,
        wrong=wrong,
        by_scale=by_scale(meta),
    )


def by_scale(meta: Mapping[str, Any]) -> bool:
    """Whether nobody but the scale subresource owns ``manualReplicas``: what it writes to a field without an owner has none.

    Args:
        meta: the metadata of a ``JobQueue``; they change also where the spec, and its generation, stay as they were.
    """
    entries = meta.get("managedFields") or []
    owners = {
        entry.get("subresource")
        for entry in entries
        if "f:manualReplicas" in entry.get("fieldsV1", {}).get("f:spec", {}).get("f:scaling", {})
    }
    # Without the entry of who wrote the spec, nobody can tell.
    return owners <= {"scale"} and any("subresource" not in entry for entry in entries)


class _Node:
    """One mapping of the spec and where it stands."""

    def __init__(self, path: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise SpecError(f"{path}: must be an object, not {shown(value)}")
        self.path = path
        self.value = value

    def child(self, key: str) -> _Node:
        return _Node(f"{self.path}.{key}", self.value.get(key, {}))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.value.get(key, default)
        if not isinstance(value, str) or not value:
            raise SpecError(f"{self.path}.{key}: must be a text that is not empty, not {shown(value)}")
        return value

    def named(self, key: str, default: str | None, form: re.Pattern[str], way_out: str) -> str:
        value = self.text(key, default)
        if not form.fullmatch(value):
            raise SpecError(f"{self.path}.{key}: {shown(value)} cannot be one: use {way_out}")
        return value

    def number(self, key: str, default: float | None, low: float, high: float = float("inf")) -> float:
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            bounds = f"{low:g}{'' if high >= _MOST else f' to {high:.10g}'}"
            raise SpecError(f"{self.path}.{key}: must be a number from {bounds}, not {shown(value)}")
        return value

    def integer(self, key: str, default: int | None, low: int, high: int = _MOST) -> int:
        return int(self.number(key, default, low, high))

    def choice(self, key: str, default: _Choice) -> _Choice:
        value = self.text(key, default.value)
        kinds = type(default)
        if value not in [kind.value for kind in kinds]:
            raise SpecError(f"{self.path}.{key}: {value!r} is none of {', '.join(kind.value for kind in kinds)}")
        return kinds(value)

    def pods_or_percent(self, key: str, default: str) -> str:
        value = self.value.get(key, default)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else self.text(key, default)
        if not _PODS_OR_PERCENT.fullmatch(text):
            raise SpecError(f"{self.path}.{key}: {text!r} is neither a number of pods nor a percentage: write 2 or 25%")
        return text

    def duration(self, key: str, default: str) -> float:
        text = self.text(key, default)
        if not _DURATION.fullmatch(text):
            raise SpecError(f"{self.path}.{key}: {text!r} is not a duration such as 500ms, 1s, 2m or 1h30m")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            raise SpecError(f"{self.path}.{key}: {text!r} is not within 1ms to 8760h")
        return seconds


def parse_spec(spec: _Node) -> JobQueueSpec:
    """Parse ``spec``; raises SpecError."""
    queues = _queues(spec.value.get("queues"))
    return JobQueueSpec(
        database=_database(spec.child("database")),
        queues=queues,
        worker=_worker(spec.child("worker"), queues),
        scaling=_scaling(spec.child("scaling")),
        mode=spec.choice("mode", Mode.SCALE),
        rollout=_rollout(spec.child("rollout")),
        deletion_policy=spec.choice("deletionPolicy", DeletionPolicy.DRAIN),
    )


def _salvage(spec: _Node) -> JobQueueSpec:
    """Each part that a deletion asks about, or what harms nobody in its place: a database without a Secret is not read."""

    def part(read: Callable[[], _Part], otherwise: _Part) -> _Part:
        try:
            return read()
        except SpecError:
            return otherwise

    return JobQueueSpec(
        database=part(lambda: _database(spec.child("database")), DatabaseSpec("", "")),
        queues=part(lambda: _queues(spec.value.get("queues")), ()),
        worker=WorkerSpec("", "", 1),
        scaling=ScalingSpec(1),
        mode=part(lambda: spec.choice("mode", Mode.SCALE), Mode.SCALE),
        rollout=part(lambda: _rollout(spec.child("rollout")), RolloutSpec()),
        deletion_policy=part(lambda: spec.choice("deletionPolicy", DeletionPolicy.DRAIN), DeletionPolicy.DRAIN),
    )


def _rollout(node: _Node) -> RolloutSpec:
    bounded = node.value.get("maxDrainSeconds") is not None
    return RolloutSpec(
        strategy=node.choice("strategy", RolloutStrategy.RAINBOW),
        max_surge=node.pods_or_percent("maxSurge", "25%"),
        gate_seconds=node.number("gateSeconds", 30, 0, 86400),
        keep_seconds=node.number("keepSeconds", 86400, 0),
        max_drain_seconds=node.number("maxDrainSeconds", None, 0) if bounded else None,
    )


def _queues(value: Any) -> tuple[QueueSpec, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise SpecError("spec.queues: name at least one queue")
    queues = []
    for index, item in enumerate(value):
        node = _Node(f"spec.queues[{index}]", item)
        queues.append(
            QueueSpec(
                name=node.text("name"),
                max_workers=node.integer("maxWorkers", None, 1, 10_000),
                priority=node.integer("priority", 1, 1, 1000),
                target_wait_seconds=node.number("targetWaitSeconds", 30, 0.1),
                expected_job_seconds=(node.number("expectedJobSeconds", None, 0.001) if "expectedJobSeconds" in item else None),
            )
        )
    names = [queue.name for queue in queues]
    if len(set(names)) != len(names):
        raise SpecError(f"spec.queues: {max(names, key=names.count)!r} stands twice; name each queue once")
    return tuple(queues)


def _database(node: _Node) -> DatabaseSpec:
    reference = node.child("urlSecretRef")
    has_budget = node.value.get("maxConnections") is not None
    return DatabaseSpec(
        # They become parts of a path of the API server's.
        secret_name=reference.named("name", None, _SECRET_NAME, "lower case letters, digits, - and ., such as library-db"),
        secret_key=reference.named("key", "url", _SECRET_KEY, "letters, digits, -, _ and ., such as url"),
        schema=node.named("schema", "public", _SCHEMA, "letters, digits and _, at most 46, not starting with a digit"),
        migrate=node.choice("migrate", Migrate.VERIFY),
        max_connections=node.integer("maxConnections", None, 3) if has_budget else None,
    )


def _worker(node: _Node, queues: Sequence[QueueSpec]) -> WorkerSpec:
    try:
        template = check_template(node.value.get("template", {}), "spec.worker.template")
    except TemplateError as error:
        raise SpecError(str(error)) from None
    return WorkerSpec(
        image=node.text("image"),
        app=node.text("app"),
        slots=node.integer("slots", sum(queue.max_workers for queue in queues), 1, 10_000),
        max_attempts=node.integer("maxAttempts", 25, 1, 32767),
        poll_interval=node.duration("pollInterval", "1s"),
        shutdown_timeout=node.duration("shutdownTimeout", "30s"),
        template=template,
    )


def _scaling(node: _Node) -> ScalingSpec:
    low = node.integer("minReplicas", 0, 0)
    high = node.integer("maxReplicas", None, 1)
    if low > high:
        raise SpecError(f"{node.path}.minReplicas: {low} is above maxReplicas {high}: raise maxReplicas or lower it")
    scale_in = node.child("scaleIn")
    window = scale_in.value.get("windowSeconds", "auto")
    manual = node.value.get("manualReplicas")
    schedules = node.value.get("schedules", [])
    fallback = node.child("fallback")
    return ScalingSpec(
        max_replicas=high,
        min_replicas=low,
        idle_slots=node.integer("idleSlots", 0, 0),
        scale_in=ScaleInSpec(
            None if window == "auto" else scale_in.number("windowSeconds", None, 0, 3600),
            scale_in.pods_or_percent("maxStep", "100%"),
        ),
        fallback=FallbackSpec(fallback.number("afterSeconds", 0, 0), fallback.integer("replicas", 0, 0)),
        schedules=tuple(_schedule(_Node(f"{node.path}.schedules[{i}]", item), high) for i, item in enumerate(schedules)),
        manual_replicas=None if manual is None else node.integer("manualReplicas", None, 0),
        manual_seconds=node.number("manualSeconds", 3600, 1),
    )


def _schedule(node: _Node, most: int) -> ScheduleSpec:
    zone = node.text("timeZone", "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SpecError(f"{node.path}.timeZone: {zone!r} is not known; write a name such as Europe/Berlin or UTC") from None
    try:
        cron = Cron.parse(node.text("cron"))
    except CronError as error:
        raise SpecError(f"{node.path}.cron: {error}") from None
    seconds, replicas = node.number("durationSeconds", None, 60, 2_678_400), node.integer("replicas", None, 1)
    if replicas > most:
        raise SpecError(f"{node.path}.replicas: {replicas} is above maxReplicas {most}: raise maxReplicas or lower it")
    return ScheduleSpec(cron, seconds, replicas, zone)
