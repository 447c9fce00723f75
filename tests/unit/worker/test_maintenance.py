"""What the leader decides: which jobs are rescued and how, and what a rebuild has left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import NO_TIMEOUT, ConfigError, Job, JobRow, JobState, Never, Worker, Workers, load_settings
from rivermill.job import AttemptError
from rivermill.maintenance.reindexer import Reindexer, artifacts_of
from rivermill.maintenance.rescuer import RescueRules, Verdict
from rivermill.maintenance.services import statement_timeout

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
SOON, LATER = NOW + HOUR, NOW + 2 * HOUR
ROW = JobRow(
    id=1, kind="plain", queue="default", state=JobState.RUNNING, args={"text": ""}, attempt=1, max_attempts=25, priority=1,
    created_at=NOW - 9 * HOUR, scheduled_at=NOW - 9 * HOUR, attempted_at=NOW - 5 * HOUR, attempted_by=("gone",), metadata={},
)  # fmt: skip


@dataclass
class Plain:
    kind: ClassVar[str] = "plain"
    text: str = ""


@dataclass
class Long(Plain):
    kind: ClassVar[str] = "long"


@dataclass
class Endless(Plain):
    kind: ClassVar[str] = "endless"


class PlainWorker(Worker[Plain]):
    def work(self, job: Job[Plain]) -> None: ...


class LongWorker(Worker[Long]):
    timeout = timedelta(hours=6)

    def work(self, job: Job[Long]) -> None: ...

    def next_retry(self, job: Job[Long]) -> datetime:
        return LATER


class EndlessWorker(Worker[Endless]):
    timeout = NO_TIMEOUT

    def work(self, job: Job[Endless]) -> None: ...


def rules(job_timeout: timedelta | None = timedelta(minutes=1)) -> RescueRules:
    workers = Workers()
    for worker in (PlainWorker(), LongWorker(), EndlessWorker()):
        workers.add(worker)
    return RescueRules(workers, job_timeout, lambda row: SOON if not row.errors else NOW + 3 * HOUR)


ERROR = AttemptError(NOW, 1, "no", "")
RETRY = Verdict(JobState.RETRYABLE, SOON)


@pytest.mark.parametrize(
    ("changes", "dead", "expected"),
    [
        ({}, False, RETRY),
        ({}, True, RETRY),
        ({"errors": (ERROR,)}, False, Verdict(JobState.RETRYABLE, NOW + 3 * HOUR)),
        ({"attempt": 25}, False, Verdict(JobState.DISCARDED)),
        ({"metadata": {"cancel_attempted_at": "whenever"}}, False, Verdict(JobState.CANCELLED)),
        ({"metadata": {"cancel_attempted_at": "x"}, "attempt": 25, "kind": "endless"}, False, Verdict(JobState.CANCELLED)),
        ({"metadata": {"cancel_attempted_at": None}}, False, RETRY),
        # Any JSON may have been put there by others.
        *(({"metadata": value}, True, RETRY) for value in (5, True, None, 0.5, "cancel_attempted_at", ["cancel_attempted_at"])),
        # A kind that may take this long is left alone, unless its client is known to be dead.
        ({"kind": "long"}, False, None),
        ({"kind": "endless"}, False, None),
        ({"kind": "long", "attempt": 25}, False, None),
        ({"kind": "long", "attempted_at": NOW - 7 * HOUR}, False, Verdict(JobState.RETRYABLE, LATER)),
        ({"kind": "long"}, True, Verdict(JobState.RETRYABLE, LATER)),
        ({"kind": "endless"}, True, RETRY),
        # Args that do not fit were never given to a worker, and the worker cannot be asked about them.
        ({"kind": "long", "args": {"text": 5}}, False, RETRY),
        ({"kind": "long", "encoded_args": '{"text": 5}'}, False, RETRY),
        # Another client may know the kind.
        ({"kind": "unknown"}, False, RETRY),
    ],
)
def test_rescues(changes: dict[str, Any], dead: bool, expected: Verdict | None) -> None:
    assert rules().judge(replace(ROW, **changes), NOW, dead=dead) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "unknown"}, Verdict(JobState.DISCARDED)),
        ({"kind": "unknown", "metadata": {"cancel_attempted_at": "whenever"}}, Verdict(JobState.CANCELLED)),
        ({}, RETRY),
    ],
)
@pytest.mark.parametrize("dead", [False, True])
def test_rescues_that_discard_unknown_kinds(changes: dict[str, Any], dead: bool, expected: Verdict) -> None:
    chosen = replace(rules(), discard_unknown_kinds=True)
    assert chosen.judge(replace(ROW, **changes), NOW, dead=dead) == expected


def test_without_a_time_limit_nothing_is_too_old() -> None:
    assert rules(job_timeout=None).judge(ROW, NOW, dead=False) is None


class Fails:
    def next(self, after: datetime) -> datetime | None:
        raise KeyError("broken")


class Naive:
    def next(self, after: datetime) -> datetime | None:
        return after.replace(tzinfo=None) + HOUR


@pytest.mark.parametrize("schedule", [Fails(), Naive()])
async def test_a_schedule_that_fails_ends_rebuilds_and_nothing_else(schedule: Any, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.wait_for(Reindexer(settings(reindexer_schedule=schedule), "rivermill test").run(), 10)
    assert "reindexer_schedule failed: no index is rebuilt any more in this term" in caplog.text


def test_what_a_rebuild_leaves() -> None:
    names = ["a", "a_ccnew", "a_ccold12", "a_ccnewer", "a_ccnew_x", "ab_ccnew", "xa_ccnew", "a.b_ccnew"]
    assert artifacts_of("a", names) == ["a_ccnew", "a_ccold12"]
    assert artifacts_of("a.b", names) == ["a.b_ccnew"]


def settings(**arguments: Any) -> Any:
    return load_settings(dsn="postgresql://x", environ={}, **arguments)


def test_time_limits_and_retentions_can_be_turned_off() -> None:
    names = ("completed_retention", "cancelled_retention", "discarded_retention", "job_timeout", "job_cleaner_timeout")
    off = settings(**dict.fromkeys(names))
    assert {getattr(off, name) for name in names} == {None}
    assert statement_timeout(off) is None
    assert statement_timeout(settings()) == timedelta(seconds=30)
    assert statement_timeout(settings(job_cleaner_timeout=HOUR)) == HOUR
    assert settings(poll_interval=None).poll_interval == timedelta(seconds=1)


def test_jobs_are_not_old_before_their_time() -> None:
    assert settings().rescue_after == HOUR
    assert settings(job_timeout=5 * HOUR).rescue_after == 6 * HOUR
    assert settings(job_timeout=HOUR, rescue_after=HOUR).rescue_after == HOUR
    assert settings(reindexer_schedule=Never()).reindexer_schedule.next(NOW) is None
    assert settings().reindexer_schedule.next(NOW) == datetime(2026, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rescue_after", timedelta(seconds=59)),
        ("poll_interval", timedelta(0)),
        ("completed_retention", timedelta(0)),
        ("reindexer_timeout", timedelta(-1)),
        ("reindexer_schedule", "0 0 * * *"),
    ],
)
def test_what_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        settings(**{name: value})
