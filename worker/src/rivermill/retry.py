"""When a failed job runs again. Mirrors River's ``internal/retrypolicy/default.go``."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rivermill.errors import ArgsDecodeError
from rivermill.job import JobRow
from rivermill.outcome import error_text
from rivermill.rows import END_OF_TIMES
from rivermill.worker import Registration

#: The largest Go duration; River caps its delays there.
_MAX_SECONDS = 9_223_372_036.854775807
_JITTER = 0.1

_FAILED = "next retry of job %(job_id)s of kind %(kind)s failed: %(error)s; River's schedule is used"

logger = logging.getLogger("rivermill.executor")


def retry_delay(error_count: int, rng: random.Random | None = None) -> timedelta:
    """The delay before the next attempt: ``error_count`` ** 4 seconds, give or take 10 %.

    Args:
        error_count: failures of the job so far, this one included; at least 1. Snoozes do not count.
        rng: source of the jitter.
    """
    base = float(max(1, error_count)) ** 4
    if base >= _MAX_SECONDS:
        return timedelta(seconds=_MAX_SECONDS)
    uniform = (rng or random).uniform(-_JITTER, _JITTER)
    return timedelta(seconds=min(base * (1 + uniform), _MAX_SECONDS))


def default_retry_policy(job: JobRow) -> datetime:
    """When River runs a failed job again; ``job.errors`` are the failures before this one."""
    return datetime.now(UTC) + retry_delay(len(job.errors) + 1)


def next_retry(registration: Registration | None, row: JobRow, policy: Callable[[JobRow], datetime], now: datetime) -> datetime:
    """When a failed job runs again: the worker's choice, else the client's; what lies in the past gives way to River's own.

    Args:
        registration: of the job's kind, if it has a worker here.
        row: the job; ``row.errors`` are the failures before this one.
        policy: the client's.
        now: the client's clock, aware.
    """
    facts: dict[str, Any] = {"job_id": row.id, "kind": row.kind}
    try:
        chosen, whose = _own_next_retry(registration, row), "next_retry"
        if chosen is None:
            chosen, whose = policy(row), "retry_policy"
        fault = _fault(chosen, now)
        if fault is None:
            return chosen
        facts["error"] = f"{whose} returned {chosen!r}, which {fault}"
        logger.warning(_FAILED, facts, extra=facts)
    except (Exception, SystemExit) as error:
        facts["error"] = error_text(error)
        logger.exception(_FAILED, facts, extra=facts)
    return default_retry_policy(row)


def _fault(chosen: Any, now: datetime) -> str | None:
    """What is wrong with a time that a worker or a policy has chosen; None if nothing is."""
    if not isinstance(chosen, datetime) or chosen.tzinfo is None:
        return "is no aware datetime, such as datetime.now(UTC) + timedelta(minutes=1)"
    if chosen < now:
        return "lies in the past"
    return None if chosen < END_OF_TIMES else f"lies behind the year {END_OF_TIMES.year - 1}"


def _own_next_retry(registration: Registration | None, row: JobRow) -> datetime | None:
    try:
        return registration.next_retry(row) if registration is not None else None
    except ArgsDecodeError:
        return None
