"""What error handlers, stuck-job handlers and the hooks of claims may answer, and what is said of those that fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rivermill import ClaimMetric, ConfigError, ErrorHandlerResult, Hook, JobRow, JobState, StuckJob
from rivermill.extensions import Extensions, emit_metric, tell_claimed
from rivermill.handlers import ask_error_handler, ask_stuck_handler, check_error_handler, check_stuck_handler

STUCK = StuckJob(7, "note", "default", 1)
AT = datetime.now(UTC)
ROW = JobRow(7, "note", "default", JobState.RUNNING, {}, 1, 25, 1, AT, AT)
METRIC = ClaimMetric("default", timedelta(1), 1)


class Handler:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def handle_error(self, job: JobRow, error: BaseException) -> Any:
        return self.answer

    def handle_panic(self, job: JobRow, error: BaseException, trace: str) -> Any:
        return self.answer


@pytest.mark.parametrize("error", [ValueError(), SystemExit()])
@pytest.mark.parametrize(
    ("answer", "cancels", "said"),
    [
        (None, False, ""),
        (ErrorHandlerResult(), False, ""),
        (ErrorHandlerResult(set_cancelled=True), True, ""),
        (True, False, "it returned True: return an ErrorHandlerResult, or None"),
        ("cancel", False, "it returned 'cancel'"),
    ],
)
async def test_answers_of_error_handlers(
    caplog: pytest.LogCaptureFixture, error: BaseException, answer: Any, cancels: bool, said: str
) -> None:
    assert await ask_error_handler(Handler(answer), ROW, error, "", timedelta(0)) is cancels
    assert said in caplog.text
    assert bool(said) is bool(caplog.text)


def raises(job: StuckJob) -> bool:
    raise ValueError("a handler may fail")


async def coroutine(job: StuckJob) -> bool:
    return True


def wrapper(job: StuckJob) -> Any:
    return coroutine(job)


class AsyncCall:
    async def __call__(self, job: StuckJob) -> bool:
        return True


@pytest.mark.parametrize(
    ("handler", "opens", "said"),
    [
        (lambda job: job.id == 7, True, ""),
        (lambda _: None, False, ""),
        (raises, False, "a handler may fail"),
        (wrapper, False, "it returned a coroutine, which nobody awaits: return True or False"),
    ],
)
def test_answers_of_stuck_handlers(caplog: pytest.LogCaptureFixture, handler: Any, opens: bool, said: str) -> None:
    assert ask_stuck_handler(handler, STUCK) is opens
    assert said in caplog.text


def test_handlers_that_are_taken() -> None:
    for handler in (None, Handler(None)):
        check_error_handler(handler)
    for handler in (None, raises, wrapper):
        check_stuck_handler(handler)


@pytest.mark.parametrize("handler", [5, Handler, raises, Hook()])
def test_error_handlers_that_are_refused(handler: Any) -> None:
    with pytest.raises(ConfigError, match=r"^error_handler .*: use an object with the methods handle_error"):
        check_error_handler(handler)


@pytest.mark.parametrize("handler", [True, coroutine, AsyncCall()])
def test_stuck_handlers_that_are_refused(handler: Any) -> None:
    with pytest.raises(ConfigError, match=r"^job_stuck_handler .*: use a plain function"):
        check_stuck_handler(handler)


class Failing(Hook):
    async def jobs_claimed(self, metric: ClaimMetric) -> None:
        raise ValueError("no")

    def metric_emit(self, metric: ClaimMetric) -> None:
        raise ValueError("no")


async def test_hooks_of_claims_that_fail_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    hooks = Extensions.of(hooks=[Failing()])
    await tell_claimed(hooks, METRIC)
    emit_metric(hooks, METRIC)
    assert [r.message for r in caplog.records] == ["a jobs_claimed hook failed", "a metric_emit hook failed"]
