"""Inserting with the hooks and middleware that run around it. Mirrors ``insertManyShared`` of River's ``client.go``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from rivermill.errors import RivermillError
from rivermill.extensions import Extensions, Hook, Middleware, awaitable
from rivermill.insert_rows import InsertParams
from rivermill.outcome import error_text, shortened

ResultT = TypeVar("ResultT")

logger = logging.getLogger("rivermill.producer")

#: Characters of what an application returned or raised in a message.
_SHOWN = 1000


def inserts_around(client: Extensions, params: Sequence[InsertParams]) -> bool:
    """Whether anything runs around the insert of these jobs: of the client, or of their kinds."""
    return bool(client.on_insert) or any(Extensions.of_args(kind).on_insert for kind in {type(one.args) for one in params})


async def insert_with(
    client: Extensions,
    params: Sequence[InsertParams],
    resolve: Callable[[Sequence[InsertParams]], Sequence[InsertParams]],
    inner: Callable[[Sequence[InsertParams]], Awaitable[ResultT]],
) -> ResultT:
    """Insert with everything that runs around it: middleware (each kind's once a batch), then each job's hooks, then ``inner``.

    Args:
        client: the client's extensions.
        params: the jobs.
        resolve: checks them and fills in their options; called only if anything runs around them.
        inner: inserts them, or what hooks made of them.
    """
    if not inserts_around(client, params):
        return await inner(params)
    params = resolve(params)
    by_type = {kind: Extensions.of_args(kind) for kind in dict.fromkeys(type(one.args) for one in params)}

    async def innermost() -> ResultT:
        return await inner([await _begun(one, (*client.insert_begin, *by_type[type(one.args)].insert_begin)) for one in params])

    call: Callable[[], Awaitable[ResultT]] = innermost
    layers = [*client.insert_many, *(m for extensions in by_type.values() for m in extensions.insert_many)]
    for layer in reversed(layers):
        call = _wrapped(layer, params, call)
    return await call()


async def _begun(params: InsertParams, hooks: Sequence[Hook]) -> InsertParams:
    """What to insert once the hooks have seen it."""
    for hook in hooks:
        changed = await awaitable(hook, "insert_begin", hook.insert_begin(params))
        if changed is not None and not isinstance(changed, type(params)):
            raise RivermillError(
                f"hook {type(hook).__name__}: insert_begin returned {shortened(repr(changed), _SHOWN)}: return None, or what "
                "takes the place of its params, made from them by dataclasses.replace or with_metadata"
            )
        params = params if changed is None else changed
    return params


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
