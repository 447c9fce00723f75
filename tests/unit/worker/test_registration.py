"""Which workers are refused when they are registered, and what is said of what a worker returns."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from rivermill import NO_TIMEOUT, ConfigError, Job, Middleware, Worker, Workers
from rivermill.errors import RivermillError
from rivermill.worker import refuse_unawaited


@dataclass
class Mail:
    kind: ClassVar[str] = "mail"


def generator(job: Job[Mail]) -> Iterator[None]:
    yield


async def async_generator(job: Job[Mail]) -> AsyncIterator[None]:
    yield


async def work(job: Job[Mail]) -> None: ...


class AsyncCall:
    async def __call__(self, job: Job[Mail]) -> None: ...


class GeneratorCall:
    def __call__(self, job: Job[Mail]) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator, "worker function generator is a generator function, of which nothing would run: take the yield out"),
        (async_generator, "worker function async_generator is an async generator function"),
        (GeneratorCall(), "is a generator function"),
        (5, "workers.work(5): pass a function"),
    ],
)
def test_functions_that_are_refused(function: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Workers().work(function)
    assert message in str(caught.value)


@pytest.mark.parametrize("function", [AsyncCall(), functools.update_wrapper(AsyncCall(), work)])
def test_an_object_with_an_async_call_runs_on_the_loop(function: Any) -> None:
    workers = Workers()
    workers.work(function)
    assert [r.executor for r in workers] == ["async"]


class Good(Worker[Mail]):
    async def work(self, job: Job[Mail]) -> None: ...


class NoWork(Worker[Mail]):
    pass


class NoJob(Worker[Mail]):
    def work(self) -> None: ...  # type: ignore[override]


class Yields(Worker[Mail]):
    async def work(self, job: Job[Mail]) -> AsyncIterator[None]:  # type: ignore[override]
        yield


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (NoWork(), "worker NoWork has no work: define work(self, job)"),
        (NoJob(), "worker NoJob: work cannot be called with a job"),
        (Yields(), "worker Yields is an async generator function"),
    ],
)
def test_classes_that_are_refused(worker: Worker[Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Workers().add(worker)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("timeout", 30, "of kind 'mail', timeout 30: use a timedelta above zero, such as timedelta(seconds=30), NO_TIMEOUT,"),
        ("timeout", "30s", "timeout '30s': use a timedelta"),
        ("timeout", timedelta(0), "timeout 0:00:00: use a timedelta above zero"),
        ("timeout", timedelta(seconds=-1), "timeout -1 day, 23:59:59: use a timedelta above zero"),
        ("middleware", Middleware(), "use a list of instances of Middleware"),
        ("middleware", [5], "middleware: 5 is not a Middleware"),
    ],
)
def test_attributes_that_are_refused(name: str, value: Any, message: str) -> None:
    worker = Good()
    setattr(worker, name, value)
    registrations: list[Callable[[], Any]] = [
        lambda: Workers().add(worker),
        lambda: Workers().work(**{name: value})(work),
    ]
    for register in registrations:
        with pytest.raises(ConfigError) as caught:
            register()
        assert message in str(caught.value)


@pytest.mark.parametrize("timeout", [None, NO_TIMEOUT, timedelta(microseconds=1)])
def test_timeouts_that_are_taken(timeout: timedelta | None) -> None:
    workers = Workers()
    workers.work(timeout=timeout)(work)
    (registration,) = workers
    assert registration.timeout(timedelta(1)) == {None: timedelta(1), NO_TIMEOUT: None}.get(timeout, timeout)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (work, "returned a coroutine that nobody awaits: register the async function itself, or an async def that awaits it"),
        (generator, "returned a generator, of which nothing has run"),
        (async_generator, "returned an async generator, of which nothing has run"),
    ],
)
def test_work_that_was_never_done_is_refused(returned: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(RivermillError) as caught:
        refuse_unawaited(returned(None))
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, "done", [1]])
def test_other_returned_values_are_nobodys_business(value: Any) -> None:
    refuse_unawaited(value)
