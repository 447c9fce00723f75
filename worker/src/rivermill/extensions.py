"""Hooks, middleware and plugins: code of the application's that runs around inserts and attempts.

Mirrors River's ``Config.Hooks``, ``Middleware`` and ``Plugins`` and their order (``internal/pluginlookup``,
``internal/jobexecutor``): plugins come before hooks and before middleware, a client's before those of an args type, a
worker's own middleware before all other; each list keeps its order, and the first middleware is the outermost.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rivermill.errors import ConfigError, RivermillError

if TYPE_CHECKING:
    from rivermill.insert_rows import InsertParams
    from rivermill.job import Job

logger = logging.getLogger("rivermill.producer")


@dataclass(frozen=True, slots=True)
class ClaimMetric:
    """What a claim took and brought; River's ``job_get_available_duration`` and ``job_get_available_count``.

    A claim from several queues has one for each, with its whole duration.
    """

    queue: str
    duration: timedelta
    count: int


class Hook:
    """Base class of hooks; override what is needed, the rest costs nothing."""

    async def insert_begin(self, params: InsertParams) -> InsertParams | None:
        """A job is about to be inserted; raising stops the insert.

        Args:
            params: the job, checked, with all options filled in.

        Returns:
            What is inserted in its place, such as ``params.with_metadata({...})``; None inserts it as it is.
        """

    async def work_begin(self, job: Job[Any]) -> None:
        """An attempt begins, its args still undecoded; raising makes it fail and keeps the worker from running.

        Where ``job.encoded_args`` is set, the args are decoded from that.
        """

    async def work_end(self, job: Job[Any], error: BaseException | None) -> BaseException | None:  # noqa: ARG002
        """The worker ended with ``error`` or without one; the error returned takes its place."""
        return error

    def metric_emit(self, metric: ClaimMetric) -> None:
        """A claim returned. Called on the hot path, so it must not wait for anything."""

    async def jobs_claimed(self, metric: ClaimMetric) -> None:
        """A claim brought jobs, which begin when this returns; meant for tests that need a claimed job not to run yet.

        While it waits nothing else is claimed, and jobs that are cancelled begin cancelled. What it raises is logged.
        """

    async def periodic_jobs_start(self) -> None:
        """The client leads and begins to insert periodic jobs; raising keeps it from leading."""


class Middleware:
    """Base class of middleware; override what is needed, the rest costs nothing."""

    async def insert_many(self, params: Sequence[InsertParams], inner: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG002
        """Around one insert of one or many jobs: ``await inner()`` inserts them and returns the results.

        They are checked, and have all options filled in. Return the results. Returning without them, or although inserting
        raised, is an error; anything else that is returned is logged, and the results are taken in its place, for the jobs
        are inserted by then.
        """
        return await inner()

    async def work(self, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> None:  # noqa: ARG002
        """Around one attempt: ``await inner()`` runs what is inside and raises what it raises.

        Returning without it fails the attempt. No timeout ends what waits here before and after it.
        """
        await inner()


class Plugin(Hook, Middleware):
    """Hook and middleware in one."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """The hooks and middleware of a client, or of one args type, by what they override."""

    insert_begin: tuple[Hook, ...] = ()
    insert_many: tuple[Middleware, ...] = ()
    work_begin: tuple[Hook, ...] = ()
    work_end: tuple[Hook, ...] = ()
    work: tuple[Middleware, ...] = ()
    metric_emit: tuple[Hook, ...] = ()
    jobs_claimed: tuple[Hook, ...] = ()
    periodic_jobs_start: tuple[Hook, ...] = ()

    @classmethod
    def of(
        cls, *, hooks: Iterable[Hook] = (), middleware: Iterable[Middleware] = (), plugins: Iterable[Plugin] = ()
    ) -> Extensions:
        """Sort them by what they override.

        Raises:
            ConfigError: one is no list, or has what is not of the class it is for, or a ``metric_emit`` is async.
        """
        plugins = check_each("plugins", plugins, Plugin)
        all_hooks = [*plugins, *check_each("hooks", hooks, Hook)]
        all_middleware = [*plugins, *check_each("middleware", middleware, Middleware)]
        emitting = _overriding(all_hooks, Hook, "metric_emit")
        for hook in emitting:
            if inspect.iscoroutinefunction(hook.metric_emit):
                raise ConfigError(f"hooks: metric_emit of {hook!r} is async, which nobody awaits: make it a plain def")
        return cls(
            insert_begin=_overriding(all_hooks, Hook, "insert_begin"),
            insert_many=_overriding(all_middleware, Middleware, "insert_many"),
            work_begin=_overriding(all_hooks, Hook, "work_begin"),
            work_end=_overriding(all_hooks, Hook, "work_end"),
            work=_overriding(all_middleware, Middleware, "work"),
            metric_emit=emitting,
            jobs_claimed=_overriding(all_hooks, Hook, "jobs_claimed"),
            periodic_jobs_start=_overriding(all_hooks, Hook, "periodic_jobs_start"),
        )

    @classmethod
    def of_args(cls, args_type: type[Any]) -> Extensions:
        """Those that an args type brings in its class attributes ``hooks`` and ``plugins``."""
        hooks, plugins = getattr(args_type, "hooks", ()), getattr(args_type, "plugins", ())
        return cls.of(hooks=hooks, plugins=plugins) if hooks or plugins else _NOTHING

    def then(self, other: Extensions) -> Extensions:
        """These, and then the other's."""
        return Extensions(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def on_insert(self) -> bool:
        """Whether anything runs around an insert."""
        return bool(self.insert_begin or self.insert_many)

    @property
    def on_work(self) -> bool:
        """Whether anything runs around an attempt."""
        return bool(self.work_begin or self.work_end or self.work)


_NOTHING = Extensions()


def work_with(
    extensions: Extensions,
    own: Sequence[Middleware],
    job: Job[Any],
    decode: Callable[[], None],
    run: Callable[[], Awaitable[None]],
) -> Awaitable[None]:
    """Run an attempt with everything that runs around it.

    Args:
        extensions: the client's and the args type's.
        own: the worker's middleware.
        job: the job, its args undecoded.
        decode: decodes them; raising skips the worker and its ``work_end`` hooks.
        run: runs the worker.
    """

    async def innermost() -> None:
        for hook in extensions.work_begin:
            await awaitable(hook, "work_begin", hook.work_begin(job))
        decode()
        error: BaseException | None = None
        try:
            await run()
        except BaseException as raised:  # noqa: BLE001 - the hooks see every end of a worker, and it is raised again
            error = raised
        for hook in extensions.work_end:
            error = await awaitable(hook, "work_end", hook.work_end(job, error))
        if error is not None:
            raise error

    call: Callable[[], Awaitable[None]] = innermost
    for layer in reversed((*own, *extensions.work)):
        call = _around(layer, job, call)
    return call()


def _around(layer: Middleware, job: Job[Any], inner: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        ran = False

        async def entered() -> None:
            nonlocal ran
            ran = True
            await inner()

        await awaitable(layer, "work", layer.work(job, entered))
        if not ran:
            raise RivermillError(
                f"middleware {type(layer).__name__}: work returned without `await inner()`, so the job has not run; await it, "
                "or raise JobCancel or JobSnooze"
            )

    return call


async def tell_claimed(extensions: Extensions, metric: ClaimMetric) -> None:
    """Call the ``jobs_claimed`` hooks; what one raises is logged, since the jobs are this client's now and have to begin."""
    for hook in extensions.jobs_claimed:
        try:
            await awaitable(hook, "jobs_claimed", hook.jobs_claimed(metric))
        except Exception:
            logger.exception("a jobs_claimed hook failed", extra={"queue": metric.queue})


def emit_metric(extensions: Extensions, metric: ClaimMetric) -> None:
    """Call the ``metric_emit`` hooks; what one raises is logged."""
    for hook in extensions.metric_emit:
        try:
            hook.metric_emit(metric)
        except Exception:
            logger.exception("a metric_emit hook failed", extra={"queue": metric.queue})


def check_each(name: str, values: Iterable[Any], wanted: type[Any]) -> list[Any]:
    """The values of a setting, each of which has to be of a class.

    Raises:
        ConfigError: they are no list or the like, or one is not of that class.
    """
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ConfigError(f"{name} {values!r}: use a list of instances of {wanted.__name__}")
    values = list(values)
    for value in values:
        if not isinstance(value, wanted):
            raise ConfigError(
                f"{name}: {value!r} is not a {wanted.__name__}; derive its class from rivermill.{wanted.__name__}"
            )
    return values


def awaitable(owner: Hook | Middleware, method: str, result: Any) -> Awaitable[Any]:
    """What a method of a hook or of middleware returned, if it can be awaited.

    Only the call shows that: a plain def may return what an async one gave it.

    Args:
        owner: whose method it is.
        method: its name.
        result: what it returned.

    Raises:
        RivermillError: it cannot.
    """
    if not inspect.isawaitable(result):
        kind = "middleware" if hasattr(Middleware, method) else "hook"
        raise RivermillError(
            f"{kind} {type(owner).__name__}: {method} returned a {type(result).__name__}, and its result is awaited: make it "
            "an async def, or return what can be awaited"
        )
    return result


def _overriding(values: Sequence[Any], base: type[Any], name: str) -> tuple[Any, ...]:
    return tuple(value for value in values if getattr(type(value), name) is not getattr(base, name))
