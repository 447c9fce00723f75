"""What runs around inserts, and in which order."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import (
    ClaimMetric,
    Client,
    ConfigError,
    Hook,
    InsertParams,
    Job,
    JobCancel,
    JobRow,
    JobState,
    Middleware,
    Plugin,
    ValidationError,
    Workers,
)
from rivermill.errors import RivermillError
from rivermill.extensions import Extensions, insert_with, tell_claimed, work_with
from rivermill.maintenance.enqueuer import Enqueuer
from rivermill.outcome import error_text

order: list[str] = []
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Layer(Plugin):
    def __init__(self, name: str) -> None:
        self.name = name

    async def insert_begin(self, params: Any) -> None:
        order.append(f"{self.name} begin")

    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        order.append(f"{self.name} in {len(params)}")
        return await inner()


@dataclass
class Plain:
    kind: ClassVar[str] = "plain"


@dataclass
class Own:
    kind: ClassVar[str] = "own"
    plugins: ClassVar[tuple[Plugin, ...]] = (Layer("own"),)


class Late(Hook):
    async def metric_emit(self, metric: ClaimMetric) -> None:  # type: ignore[override]
        order.append("never")


class Refuse(Hook):
    async def insert_begin(self, params: Any) -> None:
        raise ValidationError("no")


async def insert() -> str:
    order.append("insert")
    return "result"


async def test_the_clients_come_before_the_args_types_and_each_type_once_a_batch() -> None:
    order.clear()
    client = Extensions.of(hooks=[Layer("hook")], middleware=[Layer("middleware")], plugins=[Layer("plugin")])
    jobs = [InsertParams(Own()), InsertParams(Own()), InsertParams(Plain())]
    assert await insert_with(client, jobs, insert) == "result"
    begins = ["plugin begin", "hook begin", "own begin"]
    assert order == ["plugin in 3", "middleware in 3", "own in 3", *begins, *begins, *begins[:2], "insert"]


async def test_a_hook_stops_an_insert() -> None:
    order.clear()
    with pytest.raises(ValidationError, match="no"):
        await insert_with(Extensions.of(hooks=[Refuse()]), [InsertParams(Plain())], insert)
    assert order == []


def test_only_what_is_overridden_is_called() -> None:
    found = Extensions.of(hooks=[Refuse()], middleware=[Middleware()])
    assert (len(found.insert_begin), found.work_begin, found.insert_many, found.on_work) == (1, (), (), False)
    with pytest.raises(ConfigError, match="hooks: "):
        Extensions.of(hooks=[Middleware()])  # type: ignore[list-item]


def test_an_async_hook_that_nobody_awaits_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^hooks: metric_emit of <.*Late.*> is async, .* plain def$"):
        Client("postgresql://h/d", hooks=[Late()])


class Forgets(Middleware):
    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        order.append("forgets")


class NeverAwaits(Middleware):
    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        inner().close()  # type: ignore[attr-defined] # else the interpreter warns, too


class Runs(Middleware):
    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        await inner()


class Cancels(Middleware):
    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:
        raise JobCancel("not today")


def sorted_out(extensions: Iterable[Hook | Middleware]) -> Extensions:
    hooks = [one for one in extensions if isinstance(one, Hook)]
    middleware = [one for one in extensions if isinstance(one, Middleware)]
    return Extensions.of(hooks=hooks, middleware=middleware)


async def attempt(*extensions: Hook | Middleware) -> None:
    async def run() -> None:
        order.append("worker")

    job: Job[Any] = Job(None, JobRow(1, "plain", "default", JobState.RUNNING, {}, 1, 25, 1, NOW, NOW))
    await work_with(sorted_out(extensions), (), job, lambda: None, run)


@pytest.mark.parametrize(
    ("middleware", "name"),
    [([Forgets()], "Forgets"), ([Runs(), NeverAwaits()], "NeverAwaits"), ([Forgets(), Runs()], "Forgets")],
)
async def test_a_middleware_that_does_not_run_the_job_fails_its_attempt(middleware: list[Middleware], name: str) -> None:
    with pytest.raises(RivermillError, match=f"middleware {name}: work returned without `await inner"):
        await attempt(*middleware)


async def test_a_middleware_may_say_instead_what_becomes_of_the_job() -> None:
    with pytest.raises(JobCancel, match="not today"):
        await attempt(Runs(), Cancels())
    order.clear()
    await attempt(Runs(), Runs())
    assert order == ["worker"]


class ReturnsNothing(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        await inner()


class ReturnsTooLittle(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        return (await inner())[1:]


class InsertsNothing(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        return []


class Swallows(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await inner()
        except (OSError, asyncio.CancelledError):
            return []


class TriesAgain(Middleware):
    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await inner()
        except OSError:
            return await inner()


async def insert_both() -> list[str]:
    return ["one", "two"]


def failing(*errors: BaseException) -> Callable[[], Awaitable[list[str]]]:
    left = list(errors)

    async def insert() -> list[str]:
        if left:
            raise left.pop(0)
        return await insert_both()

    return insert


async def insert_within(inner: Callable[[], Awaitable[list[str]]], *layers: Middleware) -> list[str]:
    return await insert_with(Extensions.of(middleware=layers), [InsertParams(Plain()), InsertParams(Plain())], inner)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (ReturnsNothing(), "ReturnsNothing: insert_many returned None instead of what `await inner()` returned"),
        (ReturnsTooLittle(), "ReturnsTooLittle: insert_many returned a list of 1 instead"),
    ],
)
async def test_jobs_are_inserted_whatever_a_middleware_returns_then(
    layer: Middleware, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await insert_within(insert_both, TriesAgain(), layer) == ["one", "two"]
    (record,) = caplog.records
    assert (record.levelname, said in record.getMessage()) == ("ERROR", True)


async def test_a_middleware_that_inserts_nothing_is_an_error() -> None:
    with pytest.raises(RivermillError, match="InsertsNothing: insert_many returned without `await inner"):
        await insert_within(insert_both, InsertsNothing())


@pytest.mark.parametrize("error", [OSError("no way"), asyncio.CancelledError()])
async def test_a_middleware_that_swallows_the_error_of_an_insert_is_told_so(error: BaseException) -> None:
    with pytest.raises(RivermillError, match=rf"Swallows: insert_many swallowed .* raised, {error_text(error)}: ") as caught:
        await insert_within(failing(error), TriesAgain(), Swallows())
    assert caught.value.__cause__ is error


async def test_a_middleware_may_try_an_insert_again(caplog: pytest.LogCaptureFixture) -> None:
    assert await insert_within(failing(OSError("once")), TriesAgain()) == ["one", "two"]
    assert await insert_within(failing(OSError("once")), TriesAgain(), Runs()) == ["one", "two"]
    assert caplog.records == []


class PlainHook(Hook):
    """One that does what it is for, but cannot be awaited."""

    def insert_begin(self, params: Any) -> None:  # type: ignore[override]
        order.append("insert_begin")

    def work_begin(self, job: Job[Any]) -> None:  # type: ignore[override]
        order.append("work_begin")

    def jobs_claimed(self, metric: ClaimMetric) -> None:  # type: ignore[override]
        order.append("jobs_claimed")

    def periodic_jobs_start(self) -> None:  # type: ignore[override]
        order.append("periodic_jobs_start")


class PlainEnd(Hook):
    def work_end(self, job: Job[Any], error: BaseException | None) -> None:  # type: ignore[override]
        order.append("work_end")


class PlainMiddleware(Middleware):
    def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:  # type: ignore[override]
        order.append("never")

    def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> list[Any]:  # type: ignore[override]
        return []


CLAIM = ClaimMetric("default", timedelta(seconds=1), 1)


def starts(hook: Hook) -> Callable[[], Awaitable[None]]:
    client = Client("postgresql://h/d", hooks=[hook])
    return Enqueuer(client.periodic_jobs, client._inserter, client.settings.extensions).prepare


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda: inserted(PlainHook()), "hook PlainHook: insert_begin returned a NoneType, .*: make it an async def"),
        (lambda: inserted(PlainMiddleware()), "middleware PlainMiddleware: insert_many returned a list,"),
        (lambda: attempt(PlainHook()), "hook PlainHook: work_begin returned a NoneType"),
        (lambda: attempt(PlainEnd()), "hook PlainEnd: work_end returned a NoneType"),
        (lambda: attempt(PlainMiddleware()), "middleware PlainMiddleware: work returned a NoneType"),
        (starts(PlainHook()), "hook PlainHook: periodic_jobs_start returned a NoneType"),
    ],
)
async def test_what_cannot_be_awaited_is_named_where_it_is_called(run: Callable[[], Awaitable[Any]], said: str) -> None:
    with pytest.raises(RivermillError, match=said):
        await run()


async def test_a_hook_that_cannot_be_awaited_does_not_keep_claimed_jobs(caplog: pytest.LogCaptureFixture) -> None:
    await tell_claimed(Extensions.of(hooks=[PlainHook()]), CLAIM)
    assert "hook PlainHook: jobs_claimed returned a NoneType" in caplog.text


def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        return method(*arguments)

    return call


class PassesOn(Plugin):
    """Plain defs that return what can be awaited."""

    @decorated
    async def insert_begin(self, params: Any) -> None:
        order.append("insert_begin")

    def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        return inner()

    @decorated
    async def work_begin(self, job: Job[Any]) -> None:
        order.append("work_begin")

    @decorated
    async def work_end(self, job: Job[Any], error: BaseException | None) -> BaseException | None:
        order.append("work_end")
        return error

    def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> Awaitable[None]:
        return inner()

    @decorated
    async def jobs_claimed(self, metric: ClaimMetric) -> None:
        order.append("jobs_claimed")

    @decorated
    async def periodic_jobs_start(self) -> None:
        order.append("periodic_jobs_start")


async def test_a_plain_def_may_return_what_is_awaited() -> None:
    order.clear()
    Workers().work(middleware=[PassesOn()])(noop)
    assert await inserted(PassesOn()) == "result"
    await attempt(PassesOn())
    await tell_claimed(Extensions.of(plugins=[PassesOn()]), CLAIM)
    await starts(PassesOn())()
    assert order == ["insert_begin", "insert", "work_begin", "worker", "work_end", "jobs_claimed", "periodic_jobs_start"]


async def noop(job: Job[Plain]) -> None: ...


async def inserted(*extensions: Hook | Middleware) -> str:
    return await insert_with(sorted_out(extensions), [InsertParams(Plain())], insert)
