"""What runs around inserts, and in which order."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from rivermill import (
    ClaimMetric,
    Client,
    ConfigError,
    Hook,
    InsertOpts,
    InsertParams,
    Job,
    JobCancel,
    JobRow,
    JobState,
    Middleware,
    Plugin,
    Unique,
    ValidationError,
    Workers,
)
from rivermill.around_inserts import insert_with
from rivermill.errors import RivermillError
from rivermill.extensions import Extensions, tell_claimed, work_with
from rivermill.insert_rows import PeriodicParams, make_rows
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


async def insert(jobs: Sequence[InsertParams]) -> str:
    order.append("insert")
    return "result"


def resolve(jobs: Sequence[InsertParams]) -> list[InsertParams]:
    return Client("postgresql://h/d", max_attempts=7)._inserter.resolve(jobs)


async def test_the_clients_come_before_the_args_types_and_each_type_once_a_batch() -> None:
    order.clear()
    client = Extensions.of(hooks=[Layer("hook")], middleware=[Layer("middleware")], plugins=[Layer("plugin")])
    jobs = [InsertParams(Own()), InsertParams(Own()), InsertParams(Plain())]
    assert await insert_with(client, jobs, resolve, insert) == "result"
    begins = ["plugin begin", "hook begin", "own begin"]
    assert order == ["plugin in 3", "middleware in 3", "own in 3", *begins, *begins, *begins[:2], "insert"]


async def test_a_hook_stops_an_insert() -> None:
    order.clear()
    with pytest.raises(ValidationError, match="no"):
        await insert_with(Extensions.of(hooks=[Refuse()]), [InsertParams(Plain())], resolve, insert)
    assert order == []


class Mark(Hook):
    """Adds its name to the metadata, and says what it has seen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[InsertParams] = []

    async def insert_begin(self, params: InsertParams) -> InsertParams:
        self.seen.append(params)
        return params.with_metadata({self.name: 1})


@dataclass
class Chosen:
    kind: ClassVar[str] = "chosen"
    hooks: ClassVar[tuple[Hook, ...]] = (Mark("own"),)

    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="chosen", priority=2, tags=["one"])


async def made(*hooks: Hook, job: InsertParams) -> InsertParams:
    async def insert(jobs: Sequence[InsertParams]) -> InsertParams:
        (one,) = jobs
        return one

    return await insert_with(Extensions.of(hooks=hooks), [job], resolve, insert)


async def test_a_hook_sees_every_option_and_its_changes_are_inserted() -> None:
    first, second = Mark("first"), Mark("second")
    job = await made(first, second, job=InsertParams(Chosen(), InsertOpts(priority=3, metadata='{"n":1e400}')))
    assert job.opts.metadata == '{"n":1e400,"first":1,"second":1,"own":1}'
    filled = InsertOpts(max_attempts=7, metadata='{"n":1e400}', pending=False, priority=3, queue="chosen", tags=["one"])
    assert first.seen == [InsertParams(Chosen(), filled)]
    assert second.seen == [first.seen[0].with_metadata({"first": 1})]
    (row,) = make_rows([job], 25)
    assert (row.queue, row.priority, row.max_attempts, row.metadata) == ("chosen", 3, 7, job.opts.metadata)


async def test_a_periodic_job_keeps_its_turn() -> None:
    job = await made(Mark("a"), job=PeriodicParams(Plain(), at=NOW))
    assert make_rows([job], 25)[0].scheduled_at == NOW


async def test_what_is_not_valid_is_refused_before_anything_runs_around_it() -> None:
    order.clear()
    plugins = Extensions.of(plugins=[Layer("plugin")])
    for wrong in (InsertOpts(queue="No"), InsertOpts(priority=9)):
        with pytest.raises(ValidationError, match=r"^(queue|priority) "):
            await insert_with(plugins, [InsertParams(Plain()), InsertParams(Plain(), wrong)], resolve, insert)
    assert order == []


class Encrypts(Hook):
    def __init__(self, encoded: Any) -> None:
        self.encoded = encoded

    async def insert_begin(self, params: InsertParams) -> InsertParams:
        return replace(params, encoded_args=self.encoded)


@dataclass
class Letter:
    kind: ClassVar[str] = "letter"
    to: str = "x"


async def test_args_are_stored_as_a_hook_encodes_them_and_their_unique_key_stays() -> None:
    plain = InsertParams(Letter(), InsertOpts(unique=Unique(by_args=["to"])))
    job = await made(Encrypts({"sealed": "eA=="}), job=plain)
    (row,), (expected,) = make_rows([job], 25), make_rows([plain], 25)
    assert (row.args, job.encode(), plain.encode()) == ('{"sealed":"eA=="}', '{"sealed":"eA=="}', '{"to":"x"}')
    assert row.unique_key == expected.unique_key
    for wrong, said in (("[1]", "not a JSON object"), ({"a": "\0"}, "NUL"), (5, "not iterable")):
        with pytest.raises(ValidationError, match=f"^encoded_args.*{said}"):
            make_rows([await made(Encrypts(wrong), job=plain)], 25)


class ReturnsArgs(Hook):
    async def insert_begin(self, params: InsertParams) -> Any:
        return params.args


async def test_what_is_no_job_to_insert_is_named() -> None:
    with pytest.raises(RivermillError, match=r"^hook ReturnsArgs: insert_begin returned Plain\(\): return None, or what takes"):
        await made(ReturnsArgs(), job=InsertParams(Plain()))


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


Inserts = Callable[[Sequence[InsertParams]], Awaitable[list[str]]]


async def insert_both(jobs: Sequence[InsertParams]) -> list[str]:
    return ["one", "two"]


def failing(*errors: BaseException) -> Inserts:
    left = list(errors)

    async def insert(jobs: Sequence[InsertParams]) -> list[str]:
        if left:
            raise left.pop(0)
        return await insert_both(jobs)

    return insert


async def insert_within(inner: Inserts, *layers: Middleware) -> list[str]:
    return await insert_with(Extensions.of(middleware=layers), [InsertParams(Plain()), InsertParams(Plain())], resolve, inner)


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
    return await insert_with(sorted_out(extensions), [InsertParams(Plain())], resolve, insert)
