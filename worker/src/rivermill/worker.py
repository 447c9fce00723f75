"""Workers: what executes a kind, and the registry a client is given."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from rivermill.args import check_kind, decode_args, kind_of
from rivermill.errors import ConfigError
from rivermill.job import ArgsT, Job

NO_TIMEOUT = timedelta(-1)
"""A worker's ``timeout`` that lets its jobs run for as long as they like."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class Worker(Generic[ArgsT]):
    """Base class of workers; subclass it as ``Worker[MyArgs]`` and define ``work``.

    ``work`` may be ``async def`` (runs on the event loop) or a plain ``def`` (runs in a thread).

    Attributes:
        timeout: time one attempt may take; None takes the client's ``job_timeout``, ``NO_TIMEOUT`` sets no limit.
    """

    timeout: timedelta | None = None

    def work(self, job: Job[ArgsT]) -> Awaitable[None] | None:
        """Execute one job; raise to have it retried, or raise ``JobCancel`` or ``JobSnooze``."""
        raise NotImplementedError(f"{type(self).__name__} has no work(self, job)")

    def next_retry(self, job: Job[ArgsT]) -> datetime | None:  # noqa: ARG002 - for subclasses
        """When to run a failed job again (an aware time); None takes the client's retry policy."""
        return None


@dataclass(frozen=True, slots=True)
class Registration:
    """One registered kind."""

    kind: str
    args_type: type[Any]
    worker: Worker[Any]
    is_async: bool

    def timeout(self, default: timedelta | None) -> timedelta | None:
        """The time an attempt may take; None is no limit. ``default`` is the client's ``job_timeout``."""
        own = self.worker.timeout
        if own is None:
            return default
        return None if own < timedelta(0) else own

    def next_retry(self, job: Job[Any]) -> datetime | None:
        """The worker's own choice of the next attempt, if it has one."""
        return self.worker.next_retry(job)

    def decode(self, raw: bytes | str) -> Any:
        """Decode stored args.

        Raises:
            ArgsDecodeError: they do not fit the worker's type.
        """
        return decode_args(self.args_type, raw)


class Workers:
    """The kinds a client can execute."""

    def __init__(self) -> None:
        self._registrations: dict[str, Registration] = {}

    def add(self, worker: Worker[Any]) -> None:
        """Register a worker for the kind of its args type.

        Raises:
            ConfigError: the worker does not say its args type, or the kind is taken.
            ValidationError: the kind is not one River accepts.
        """
        if not isinstance(worker, Worker):
            raise ConfigError(f"workers.add({worker!r}): pass an instance of a Worker subclass")
        self._register(_args_type_of(type(worker)), worker, is_async=inspect.iscoroutinefunction(worker.work))

    def work(self, function: FunctionT) -> FunctionT:
        """Register a plain function whose one parameter is annotated ``Job[Args]``; it stays callable as it is.

        Raises:
            ConfigError: the annotation is missing, or the kind is taken.
        """
        args_type = _args_type_of_function(function)
        is_async = inspect.iscoroutinefunction(function)
        self._register(args_type, _FunctionWorker(function), is_async=is_async)
        return function

    def get(self, kind: str) -> Registration | None:
        """The registration of a kind, or None."""
        return self._registrations.get(kind)

    def kinds(self) -> tuple[str, ...]:
        """Every registered kind, in order of registration."""
        return tuple(self._registrations)

    def __len__(self) -> int:
        return len(self._registrations)

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._registrations.values())

    def _register(self, args_type: type[Any], worker: Worker[Any], *, is_async: bool) -> None:
        kind = check_kind(kind_of(args_type))
        if kind in self._registrations:
            raise ConfigError(f"kind {kind!r} has a worker already: register each kind once")
        self._registrations[kind] = Registration(kind, args_type, worker, is_async)


class _FunctionWorker(Worker[Any]):
    def __init__(self, function: Callable[[Job[Any]], Any]) -> None:
        self._function = function

    def work(self, job: Job[Any]) -> Awaitable[None] | None:
        result: Awaitable[None] | None = self._function(job)
        return result


def _args_type_of(worker_type: type[Worker[Any]]) -> type[Any]:
    for cls in worker_type.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            if typing.get_origin(base) is Worker:
                (args_type,) = typing.get_args(base)
                if isinstance(args_type, type):
                    return args_type
    raise ConfigError(f"worker {worker_type.__name__}: derive it from Worker[YourArgs], so that its args type is known")


def _args_type_of_function(function: Callable[..., Any]) -> type[Any]:
    name = getattr(function, "__qualname__", repr(function))
    parameters = list(inspect.signature(function).parameters)
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise ConfigError(f"worker function {name}: its annotation cannot be resolved: {error}") from error
    if len(parameters) == 1:
        annotation = hints.get(parameters[0])
        if typing.get_origin(annotation) is Job:
            (args_type,) = typing.get_args(annotation)
            if isinstance(args_type, type):
                return args_type
    raise ConfigError(f"worker function {name}: give it one parameter annotated Job[YourArgs]")
