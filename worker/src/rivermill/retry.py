"""When a failed job runs again. Mirrors River's ``internal/retrypolicy/default.go``."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from rivermill.job import JobRow

#: The largest Go duration; River caps its delays there.
_MAX_SECONDS = 9_223_372_036.854775807
_JITTER = 0.1


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
