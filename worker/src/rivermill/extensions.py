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
from typing import TYPE_CHECKING, Any, TypeVar

from rivermill.errors import ConfigError, RivermillError
from rivermill.outcome import error_text, shortened

if TYPE_CHECKING:
    from rivermill.job import Job

ResultT = TypeVar("ResultT")

logger = logging.getLogger("rivermill.producer")

#: Characters of what an application returned or raised in a message.
_SHOWN = 1000


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

    async def insert_begin(self, params: Any) -> None:
        """A job is about to be inserted; raising stops the insert. ``params`` is an ``InsertParams``."""

    async def work_begin(self, job: Job[Any]) -> None:
        """An attempt begins, its args still undecoded; raising makes it fail and keeps the worker from running."""

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

    async def insert_many(self, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG002
        """Around one insert of one or many jobs: ``await inner()`` inserts them and returns the results.

        Return those. Returning without it, or although it raised, is an error; anything else that is returned is logged, and
        the results are taken in its place, for the jobs are inserted by then.
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


def inserts_around(client: Extensions, params: Sequence[Any]) -> bool:
    """Whether anything runs around the insert of these jobs: of the client, or of their kinds."""
    return bool(client.on_insert) or any(Extensions.of_args(kind).on_insert for kind in {type(one.args) for one in params})


async def insert_with(client: Extensions, params: Sequence[Any], inner: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Insert with everything that runs around it: middleware (each kind's once a batch), then each job's hooks, then ``inner``.

    Args:
        client: the client's extensions.
        params: one ``InsertParams`` for each job.
        inner: inserts them.
    """
    if not inserts_around(client, params):
        return await inner()
    by_type = {kind: Extensions.of_args(kind) for kind in dict.fromkeys(type(one.args) for one in params)}

    async def innermost() -> ResultT:
        for one in params:
            for hook in (*client.insert_begin, *by_type[type(one.args)].insert_begin):
                await awaitable(hook, "insert_begin", hook.insert_begin(one))
        return await inner()

    call: Callable[[], Awaitable[ResultT]] = innermost
    layers = [*client.insert_many, *(m for extensions in by_type.values() for m in extensions.insert_many)]
    for layer in reversed(layers):
        call = _wrapped(layer, params, call)
    return await call()


def _wrapped(layer: Middleware, params: Sequence[Any], inner: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        ran, inserted, failure = False, None, None

        async def entered() -> Any:
            nonlocal ran, inserted, failure
            ran = True
            try:
                inserted, failure = await inner(), None
            except BaseException as error:
                failure = error
                raise
            return inserted

        returned = await awaitable(layer, "insert_many", layer.insert_many(params, entered))
        name = f"middleware {type(layer).__name__}: insert_many"
        if not ran:
            raise RivermillError(
                f"{name} returned without `await inner()`, so nothing was inserted: await it, or raise an error"
            )
        if failure is not None:
            text = shortened(error_text(failure), _SHOWN)
            raise RivermillError(
                f"{name} swallowed what `await inner()` raised, {text}: raise it again, or another error"
            ) from failure
        if not _is_like(returned, inserted):
            _tell_changed(layer, returned)
            return inserted
        return returned

    return call


def _is_like(returned: Any, inserted: Any) -> bool:
    return type(returned) is type(inserted) and (not isinstance(inserted, list) or len(returned) == len(inserted))


def _tell_changed(layer: Middleware, returned: Any) -> None:
    """An error would undo the insert, or have it done twice where that is committed."""
    shown = f"a list of {len(returned)}" if isinstance(returned, list) else shortened(repr(returned), _SHOWN)
    facts = {"middleware": type(layer).__name__, "returned": shown}
    logger.error(
        "middleware %(middleware)s: insert_many returned %(returned)s instead of what `await inner()` returned, which is taken "
        "in its place: return that",
        facts,
        extra=facts,
    )


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
