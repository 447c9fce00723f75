"""What runs around inserts, and in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
from rivermill.extensions import Extensions, insert_with, work_with

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


async def attempt(*middleware: Middleware) -> None:
    async def run() -> None:
        order.append("worker")

    job: Job[Any] = Job(None, JobRow(1, "plain", "default", JobState.RUNNING, {}, 1, 25, 1, NOW, NOW))
    await work_with(Extensions.of(middleware=middleware), (), job, lambda: None, run)


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


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (ReturnsNothing(), "ReturnsNothing: insert_many returned None although the jobs were inserted"),
        (ReturnsTooLittle(), "ReturnsTooLittle: insert_many returned a list of 1 although"),
        (InsertsNothing(), "InsertsNothing: insert_many returned without `await inner"),
    ],
)
async def test_a_middleware_returns_what_the_insert_has_returned(layer: Middleware, said: str) -> None:
    async def insert_both() -> list[str]:
        return ["one", "two"]

    with pytest.raises(RivermillError, match=said):
        await insert_with(Extensions.of(middleware=[layer]), [InsertParams(Plain()), InsertParams(Plain())], insert_both)


class PlainHook(Hook):
    def insert_begin(self, params: Any) -> None:  # type: ignore[override]
        order.append("never")

    def work_end(self, job: Job[Any], error: BaseException | None) -> None:  # type: ignore[override]
        order.append("never")


class PlainMiddleware(Middleware):
    def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:  # type: ignore[override]
        order.append("never")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hooks": [PlainHook()]}, "hooks: insert_begin of .*PlainHook.* is a plain def, .*: make it an async def"),
        ({"middleware": [PlainMiddleware()]}, "middleware: work of .*PlainMiddleware.* is a plain def"),
    ],
)
def test_what_is_awaited_has_to_be_async(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Client("postgresql://h/d", **arguments)


def test_the_middleware_of_a_worker_has_to_be_async_too() -> None:
    workers = Workers()
    with pytest.raises(ConfigError, match=r"work of kind 'plain', middleware: work of .* is a plain def"):

        @workers.work(middleware=[PlainMiddleware()])
        async def work(job: Job[Plain]) -> None: ...
