"""The worker's decisions: outcomes, retries, shares, settings, args."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivermill import (
    ConfigError,
    Job,
    JobCancel,
    JobFailure,
    JobInterruptedError,
    JobSnooze,
    JobState,
    ValidationError,
    Worker,
    Workers,
)
from rivermill.args import check_kind, decode_args, encode_args
from rivermill.config import new_client_id
from rivermill.durations import parse_duration
from rivermill.errors import ArgsDecodeError
from rivermill.insert_rows import InsertOpts, check_queue
from rivermill.notify_limiter import NotifyLimiter
from rivermill.outcome import Attempt, decide, error_element, meant_by
from rivermill.retry import retry_delay
from rivermill.rows import parse_error
from rivermill.schema import Schema
from rivermill.shares import Want, share_slots

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def attempt(**changes: Any) -> Attempt:
    values = {"job_id": 1, "attempt": 1, "max_attempts": 3, "started_at": NOW, "metadata": {}}
    return Attempt(**{**values, **changes})


def after(seconds: float) -> Callable[[], datetime]:
    return lambda: NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("facts", "error", "delay", "state", "outcome"),
    [
        ({}, None, 0, JobState.COMPLETED, "completed"),
        ({}, RuntimeError("x"), 1, JobState.AVAILABLE, "failed"),
        ({}, RuntimeError("x"), 16, JobState.RETRYABLE, "failed"),
        ({"attempt": 3}, RuntimeError("x"), 1, JobState.DISCARDED, "discarded"),
        ({}, JobCancel("no"), 1, JobState.CANCELLED, "cancelled"),
        ({}, JobSnooze(timedelta(seconds=5)), 1, JobState.AVAILABLE, "snoozed"),
        ({}, JobSnooze(timedelta(seconds=6)), 1, JobState.SCHEDULED, "snoozed"),
        ({"cancel_requested": True}, asyncio.CancelledError(), 1, JobState.CANCELLED, "cancelled"),
        ({"cancel_requested": True}, None, 1, JobState.COMPLETED, "completed"),
        ({"stopping": True}, asyncio.CancelledError(), 1, JobState.AVAILABLE, "interrupted"),
        ({"stopping": True}, JobInterruptedError(), 1, JobState.AVAILABLE, "interrupted"),
        ({"stopping": True}, RuntimeError("x"), 1, JobState.AVAILABLE, "failed"),
        ({"cancel_requested": True}, JobSnooze(timedelta(0)), 1, JobState.CANCELLED, "cancelled"),
        ({"handler_cancelled": True}, RuntimeError("x"), 1, JobState.CANCELLED, "cancelled"),
    ],
)
def test_outcomes(facts: dict[str, Any], error: BaseException | None, delay: float, state: JobState, outcome: str) -> None:
    done = decide(attempt(**facts), error, now=NOW, next_retry=after(delay))
    assert (done.state, done.outcome) == (state, outcome)
    assert done.plain == (error is None)


SNOOZE, CANCEL, INTERRUPTED = JobSnooze(timedelta(0)), JobCancel("no"), JobInterruptedError("stop")
FAILURE, CANCELLED, ERROR = JobFailure("no stock"), asyncio.CancelledError(), ValueError("x")


@pytest.mark.parametrize(
    ("raised", "meant"),
    [
        ([SNOOZE], SNOOZE),
        ([CANCEL], CANCEL),
        ([INTERRUPTED], INTERRUPTED),
        ([FAILURE], FAILURE),
        ([BaseExceptionGroup("inner", [CANCELLED, CANCEL]), INTERRUPTED], CANCEL),
        ([CANCEL, SNOOZE], SNOOZE),
        ([CANCELLED, INTERRUPTED], INTERRUPTED),
        # A failure stays one, and nothing of it is left out.
        ([ERROR], None),
        ([SNOOZE, ERROR], None),
        ([FAILURE, FAILURE], None),
        ([FAILURE, SNOOZE], None),
    ],
)
def test_what_a_group_means(raised: list[BaseException], meant: BaseException | None) -> None:
    group = BaseExceptionGroup("unhandled errors in a TaskGroup", raised)
    assert meant_by(group) is (meant or group)


def test_an_interrupted_attempt_does_not_count() -> None:
    done = decide(attempt(attempt=2, stopping=True), asyncio.CancelledError(), now=NOW, next_retry=after(1))
    assert (done.attempt, done.error, done.scheduled_at) == (1, None, NOW)


@pytest.mark.parametrize(("old", "new"), [(None, 1), (2, 3), (2.9, 3), ("4", 5), ("x", 1), (True, 2), ([], 1)])
def test_snoozes_are_counted_leniently(old: Any, new: int) -> None:
    done = decide(attempt(metadata={"snoozes": old}), JobSnooze(timedelta(0)), now=NOW, next_retry=after(1))
    assert json.loads(done.metadata or "") == {"snoozes": new}
    assert done.attempt == 0


@given(st.text())
def test_error_elements_can_be_stored_and_read(message: str) -> None:
    text = error_element(NOW, 3, message)
    text.encode()
    assert "\\u0000" not in text
    assert (parse_error(text).attempt, parse_error(text).at) == (3, NOW)


@given(st.integers(1, 400))
def test_retry_delays_are_rivers(count: int) -> None:
    seconds = retry_delay(count).total_seconds()
    assert min(0.9 * count**4, 9.2e9) <= seconds <= 1.1 * count**4


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1), st.integers(0, 40)
)
def test_shares_fill_the_slots_and_no_more(wants: dict[str, tuple[int, int]], free: int) -> None:
    grants, _ = share_slots(free, {name: Want(*want) for name, want in wants.items()}, {})
    assert sum(grants.values()) == min(free, sum(room for room, _ in wants.values()))
    assert all(grants[name] <= wants[name][0] for name in grants)


def test_one_slot_at_a_time_is_shared_in_proportion_and_nobody_starves() -> None:
    wants, credit, total = {"urgent": Want(99, 9), "calm": Want(99, 1)}, {}, {"urgent": 0, "calm": 0}
    for _ in range(100):
        grants, credit = share_slots(1, wants, credit)
        for name, count in grants.items():
            total[name] += count
    assert total == {"urgent": 90, "calm": 10}


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("1s", 1), ("1h30m", 5400), ("2.5", 2.5), (7, 7)])
def test_durations(text: Any, seconds: float) -> None:
    assert parse_duration("X", text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "1 s", "x", "nan"])
def test_wrong_durations_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"X .*use a duration"):
        parse_duration("X", text)


def test_client_id() -> None:
    assert new_client_id("a.b", NOW) == "a_b_2026_01_02T03_04_05_000000"


@pytest.mark.parametrize("name", ["default", "a", "a_b-c", "1", "a" * 64])
def test_queue_names(name: str) -> None:
    assert check_queue(name) == name


@pytest.mark.parametrize("name", ["", "A", "a__b", "_a", "a_", "a b", "a" * 65, 'q"'])
def test_wrong_queue_names(name: str) -> None:
    with pytest.raises(ValidationError, match="queue"):
        check_queue(name)


def test_notify_limiter_lets_one_through() -> None:
    limiter = NotifyLimiter(timedelta(hours=1))
    assert limiter.admit(["a", "b"]) == ["a", "b"]
    assert limiter.admit(["a", "c"]) == ["c"]


def test_notify_limiter_lets_a_burst_through_and_then_few_a_second() -> None:
    limiter, began = NotifyLimiter(timedelta(0)), time.monotonic()
    admitted = sum(bool(limiter.admit(["a"])) for _ in range(1_000))
    assert 20 <= admitted <= 21 + (time.monotonic() - began) * 200
    assert limiter.admit(["b"]) == ["b"]


def test_notify_limiter_forgets_queues_that_may_be_notified_again() -> None:
    limiter = NotifyLimiter(timedelta(milliseconds=1))
    limiter.admit(f"queue_{number}" for number in range(1_000))
    assert len(limiter) == 1_000
    time.sleep(0.25)
    assert (limiter.admit(["queue_1"]), len(limiter)) == (["queue_1"], 1)


def test_options_over_options() -> None:
    assert InsertOpts(priority=2).over(InsertOpts(priority=3, queue="q")) == InsertOpts(priority=2, queue="q")


class Struct(msgspec.Struct):
    kind: ClassVar[str] = "a_struct"
    text: str
    number: int = 0


@dataclass
class Data:
    kind: ClassVar[str] = "a_dataclass"
    text: str = ""


class Choosy(Data):
    kind: ClassVar[str] = "choosy"

    def __post_init__(self) -> None:
        raise LookupError("no such library")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), st.integers(-(2**63), 2**63 - 1))
def test_args_go_round(text: str, number: int) -> None:
    assert decode_args(Struct, encode_args(Struct(text, number))) == Struct(text, number)


def test_args_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        encode_args(Data("\x00"))
    assert encode_args(Data("\\u0000")) == '{"text":"\\\\u0000"}'
    with pytest.raises(ValidationError, match="JSON object"):
        encode_args([1])
    with pytest.raises(ArgsDecodeError, match="Struct"):
        decode_args(Struct, b'{"text": 1}')
    with pytest.raises(ArgsDecodeError, match="no such library"):
        decode_args(Choosy, b"{}")


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), timedelta.max])
def test_snoozes_that_cannot_be(delay: timedelta) -> None:
    with pytest.raises(ValueError, match="delay must be zero to"):
        JobSnooze(delay)


def test_registering_workers() -> None:
    workers = Workers()

    class First(Worker[Data]):
        def work(self, job: Job[Data]) -> None: ...

    workers.add(First())

    @workers.work
    async def second(job: Job[Struct]) -> None: ...

    assert workers.kinds() == ("a_dataclass", "a_struct")
    assert [r.executor for r in workers] == ["thread", "async"]
    with pytest.raises(ConfigError, match="already"):
        workers.add(First())
    with pytest.raises(ConfigError, match="annotated Job"):
        workers.work(print)
    with pytest.raises(ConfigError, match="instance"):
        workers.add(First)  # type: ignore[arg-type]


def test_kinds_of_any_form_are_taken_where_that_is_asked_for() -> None:
    class Legacy(Data):
        kind = "send mail!"

    class Old(Worker[Legacy]):
        def work(self, job: Job[Legacy]) -> None: ...

    with pytest.raises(ValidationError, match="'send mail!'"):
        Workers().add(Old())
    workers = Workers(skip_job_kind_validation=True)
    workers.add(Old())
    assert workers.kinds() == ("send mail!",)


def test_schema_names() -> None:
    assert Schema("MyApp").table("river_job") == '"MyApp"."river_job"'
    assert Schema("a" * 46).channel("river_leadership") == "a" * 46 + ".river_leadership"
    for bad in ("", "1a", "a-b", "a" * 47):
        with pytest.raises(ConfigError, match="schema"):
            Schema(bad)


@pytest.mark.parametrize(
    ("text", "error", "attempt"),
    [
        ("42", "42", 0),
        ('{"at": 5, "attempt": "1", "error": {"a": [1]}}', '{"a":[1]}', 1),
        ("[]", "[]", 0),
        ("{}", "", 0),
        (None, "", 0),
    ],
)
def test_errors_of_another_form_are_read_leniently(text: str | None, error: str, attempt: int) -> None:
    parsed = parse_error(text)
    assert (parsed.error, parsed.attempt, parsed.at.year) == (error, attempt, 1)


def test_updates_are_merged_whatever_the_outcome() -> None:
    for error in (None, RuntimeError("x"), JobCancel("x"), JobSnooze(timedelta(0))):
        done = decide(attempt(updates={"output": 1}), error, now=NOW, next_retry=after(1))
        assert json.loads(done.metadata or "")["output"] == 1


@pytest.mark.parametrize("kind", ["ab", "a-b", "_1", "a[b]<c>/d.e·f:g+", "9" * 127])
def test_kinds_that_river_takes(kind: str) -> None:
    assert check_kind(kind) == kind


@pytest.mark.parametrize("kind", ["", "a", "-a", "a b", "größe", "a!", "ab\n", "9" * 128])
def test_kinds_that_river_refuses(kind: str) -> None:
    with pytest.raises(ValidationError, match="kind"):
        check_kind(kind)
