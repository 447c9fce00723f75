"""Workers: what executes a kind, and the registry a client is given."""

from __future__ import annotations

import inspect
import json
import logging
import typing
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, overload

from rivermill.args import check_kind, decode_args, kind_of, why_undecodable
from rivermill.args_types import why_unreadable
from rivermill.errors import ConfigError, RivermillError
from rivermill.extensions import Extensions, Middleware, check_each
from rivermill.job import ArgsT, Job, JobRow

NO_TIMEOUT = timedelta(-1)
"""A worker's ``timeout`` that lets its jobs run for as long as they like."""

logger = logging.getLogger("rivermill.worker")

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
ExecutorName = Literal["async", "thread", "process"]


class ExecutorKind(StrEnum):
    """Where a worker's jobs run: on the event loop, in a thread, or in a process of its own."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


class Worker(Generic[ArgsT]):
    """Base class of workers; subclass it as ``Worker[MyArgs]`` and define ``work``.

    Mirrors River's ``Worker`` and ``WorkerDefaults``.

    ``work`` may be ``async def`` (runs on the event loop) or a plain ``def`` (runs in a thread, or with
    ``executor = "process"`` in a process of its own, which is killed when the job is cancelled or takes too long; the
    worker is pickled for it).

    Attributes:
        timeout: time one attempt may take, above zero; None takes the client's ``job_timeout``, ``NO_TIMEOUT`` sets no limit.
        executor: ``"async"``, ``"thread"`` or ``"process"``; None chooses by what ``work`` is.
        middleware: runs around each attempt of this worker, outside the client's.
    """

    timeout: timedelta | None = None
    executor: ExecutorName | None = None
    middleware: Sequence[Middleware] = ()

    def work(self, job: Job[ArgsT]) -> Awaitable[None] | None:
        """Execute one job; raise to have it retried, or raise ``JobCancel`` or ``JobSnooze``."""
        raise NotImplementedError(f"{type(self).__name__} has no work(self, job)")

    def next_retry(self, job: Job[ArgsT]) -> datetime | None:  # noqa: ARG002 - for subclasses
        """When to run a failed job again (an aware time); None takes the client's retry policy."""
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """One registered worker.

    Attributes:
        kind: the kind of its args type, which may be worked under other names too.
        executor: where its jobs run.
        own: the extensions of its args type.
    """

    kind: str
    args_type: type[Any]
    worker: Worker[Any]
    executor: ExecutorKind
    own: Extensions = Extensions()

    @property
    def work(self) -> Callable[[Job[Any]], Awaitable[Any] | None]:
        """What is called with a job: the function itself where one was registered."""
        return self.worker.function if isinstance(self.worker, _FunctionWorker) else self.worker.work

    def timeout(self, default: timedelta | None) -> timedelta | None:
        """The time an attempt may take; None is no limit. ``default`` is the client's ``job_timeout``."""
        own = self.worker.timeout
        if own is None:
            return default
        return None if own == NO_TIMEOUT else own

    def next_retry(self, row: JobRow) -> datetime | None:
        """The worker's own choice of the next attempt, if it has one.

        Raises:
            ArgsDecodeError: the row's args do not fit the worker's type.
        """
        if type(self.worker).next_retry is Worker.next_retry:
            return None
        return self.worker.next_retry(Job(self.args_of(row), row))

    def args_of(self, row: JobRow) -> Any:
        """A row's args, decoded from their stored text where it is known: that has every digit of their numbers.

        Raises:
            ArgsDecodeError: they do not fit the worker's type.
        """
        return self.decode(row.encoded_args or json.dumps(row.args))

    def decode(self, raw: bytes | str) -> Any:
        """Decode stored args.

        Raises:
            ArgsDecodeError: they do not fit the worker's type.
        """
        return decode_args(self.args_type, raw)


class Workers:
    """The kinds a client can execute.

    An args type may have other names in its class attribute ``kind_aliases``: jobs inserted under them are worked as well,
    so that a kind can be renamed.

    Args:
        skip_job_kind_validation: take kinds of any form, for jobs that were named before River had rules for that; the database
            wants 1 to 127 characters. Mirrors ``Config.SkipJobKindValidation``.
    """

    def __init__(self, *, skip_job_kind_validation: bool = False) -> None:
        self._registrations: dict[str, Registration] = {}
        self._check_kind = _any_kind if skip_job_kind_validation else check_kind

    def add(self, worker: Worker[Any]) -> None:
        """Register a worker for the kind of its args type, and for its aliases.

        Of a pydantic model that could not read what it writes itself, it is logged that only jobs of others can be worked.

        Raises:
            ConfigError: the worker does not say its args type, nothing could ever be decoded into that, its ``work`` cannot be
                called with a job or is a generator function, its executor, timeout or middleware do not fit, or a kind is
                taken.
            ValidationError: a kind is not one River accepts.
        """
        if not isinstance(worker, Worker):
            raise ConfigError(f"workers.add({worker!r}): pass an instance of a Worker subclass")
        name, args_type = f"worker {type(worker).__name__}", _args_type_of(type(worker))
        _check_work(name, worker)
        self._register(name, args_type, worker, _executor_of(name, worker.work, worker.executor))

    @overload
    def work(self, function: FunctionT) -> FunctionT: ...

    @overload
    def work(
        self,
        function: None = None,
        *,
        timeout: timedelta | None = None,
        executor: ExecutorName | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> Callable[[FunctionT], FunctionT]: ...

    def work(
        self,
        function: FunctionT | None = None,
        *,
        timeout: timedelta | None = None,
        executor: ExecutorName | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> FunctionT | Callable[[FunctionT], FunctionT]:
        """Register a plain function whose one parameter is annotated ``Job[Args]``; it stays callable as it is.

        Use it as ``@workers.work`` or with the attributes of ``Worker``, as ``@workers.work(executor="process")``.

        Raises:
            ConfigError: the annotation is missing, nothing could ever be decoded into the args type, it is a generator
                function, the executor, timeout or middleware do not fit, or a kind is taken.
        """

        def register(function: FunctionT) -> FunctionT:
            args_type = _args_type_of_function(function)
            name = f"worker function {getattr(function, '__qualname__', repr(function))}"
            kind = _executor_of(name, function, executor)
            self._register(name, args_type, _FunctionWorker(function, timeout, middleware), kind)
            return function

        return register if function is None else register(function)

    def get(self, kind: str) -> Registration | None:
        """The registration of a kind or alias, or None."""
        return self._registrations.get(kind)

    def kinds(self) -> tuple[str, ...]:
        """Every registered kind, aliases included, in order of registration."""
        return tuple(self._registrations)

    def __len__(self) -> int:
        return len(self._registrations)

    def __iter__(self) -> Iterator[Registration]:
        return iter(dict.fromkeys(self._registrations.values()))

    def _register(self, name: str, args_type: type[Any], worker: Worker[Any], executor: ExecutorKind) -> None:
        kind = self._check_kind(kind_of(args_type))
        _check_attributes(f"{name} of kind {kind!r}", worker)
        if reason := why_undecodable(args_type):
            raise ConfigError(f"{name}: args of type {args_type.__name__} could never be decoded: {reason}")
        aliases = getattr(args_type, "kind_aliases", ())
        if isinstance(aliases, str):
            raise ConfigError(f"{name}: kind_aliases {aliases!r} of {args_type.__name__}: use a list, e.g. [{aliases!r}]")
        names = [kind, *map(self._check_kind, aliases)]
        for index, one in enumerate(names):
            if one in self._registrations or one in names[:index]:
                raise ConfigError(f"kind {one!r} has a worker already: register each kind and alias once")
        if reason := why_unreadable(args_type):
            facts = {"worker": name, "args_type": args_type.__name__, "reason": reason}
            logger.warning(
                "%(worker)s works jobs of others only: Python inserts no args of type %(args_type)s, which could not be read "
                "again: %(reason)s",
                facts,
                extra=facts,
            )
        registration = Registration(kind, args_type, worker, executor, Extensions.of_args(args_type))
        self._registrations.update(dict.fromkeys(names, registration))


def _any_kind(kind: str) -> str:
    return kind


class _FunctionWorker(Worker[Any]):
    def __init__(
        self, function: Callable[[Job[Any]], Any], timeout: timedelta | None, middleware: Sequence[Middleware]
    ) -> None:
        self.function = function
        self.timeout = timeout
        self.middleware = middleware

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function}  # what a process needs

    def work(self, job: Job[Any]) -> Awaitable[None] | None:
        result: Awaitable[None] | None = self.function(job)
        return result


def refuse_unawaited(result: Any) -> None:
    """Check what a worker returned once it had ended: a coroutine or a generator is work that was never done.

    Raises:
        RivermillError: it is one, or anything else that is to be awaited.
    """
    if result is None:
        return
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise RivermillError(
            f"the worker returned a {type(result).__name__} that nobody awaits: register the async function itself, or an "
            "async def that awaits it"
        )
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        kind = "a generator" if inspect.isgenerator(result) else "an async generator"
        raise RivermillError(f"the worker returned {kind}, of which nothing has run: let it run to its end in the worker")


def is_async_callable(function: Callable[..., Any]) -> bool:
    """Whether calling this makes a coroutine: an async function, or an object whose class has an async ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _check_work(name: str, worker: Worker[Any]) -> None:
    if type(worker).work is Worker.work:
        raise ConfigError(f"{name} has no work: define work(self, job)")
    try:
        inspect.signature(worker.work).bind(None)
    except TypeError as error:
        raise ConfigError(f"{name}: work cannot be called with a job ({error}): define work(self, job)") from error


def _check_attributes(name: str, worker: Worker[Any]) -> None:
    timeout = worker.timeout
    if timeout is not None and timeout != NO_TIMEOUT and (not isinstance(timeout, timedelta) or timeout <= timedelta(0)):
        shown = timeout if isinstance(timeout, timedelta) else repr(timeout)
        raise ConfigError(
            f"{name}, timeout {shown}: use a timedelta above zero, such as timedelta(seconds=30), NO_TIMEOUT, or None for "
            "the client's job_timeout"
        )
    check_each(f"{name}, middleware", worker.middleware, Middleware)


def _executor_of(name: str, function: Callable[..., Any], wanted: ExecutorName | None) -> ExecutorKind:
    for called in (function, type(function).__call__):
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            kind = "a generator" if inspect.isgeneratorfunction(called) else "an async generator"
            raise ConfigError(f"{name} is {kind} function, of which nothing would run: take the yield out of it")
    is_async = is_async_callable(function)
    if wanted is None:
        return ExecutorKind.ASYNC if is_async else ExecutorKind.THREAD
    if wanted not in tuple(ExecutorKind):
        raise ConfigError(f"{name}: executor {wanted!r}: use one of {', '.join(ExecutorKind)}")
    if is_async is not (wanted == "async"):
        kind = "async def" if is_async else "plain def"
        raise ConfigError(f"{name}: executor {wanted!r} does not fit a {kind}; the loop runs async def, all else plain def")
    return ExecutorKind(wanted)


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
    if not callable(function):
        raise ConfigError(f"workers.work({function!r}): pass a function, or an instance of a Worker subclass to workers.add")
    parameters = list(inspect.signature(function).parameters)
    try:
        hints = typing.get_type_hints(function if hasattr(function, "__annotations__") else type(function).__call__)
    except NameError as error:
        raise ConfigError(f"worker function {name}: its annotation cannot be resolved: {error}") from error
    if len(parameters) == 1:
        annotation = hints.get(parameters[0])
        if typing.get_origin(annotation) is Job:
            (args_type,) = typing.get_args(annotation)
            if isinstance(args_type, type):
                return args_type
    raise ConfigError(f"worker function {name}: give it one parameter annotated Job[YourArgs]")
