"""JSON-RPC 2.0, one request and one response a line. Params are typed; a field that a type lacks is refused at any depth."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from rivermill import NotFoundError, RivermillError
from rivermill.db import DATABASE_ERRORS

PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
NOT_FOUND, REFUSED = -32001, -32002

logger = logging.getLogger("adapter")


class Failure(Exception):  # noqa: N818 - an answer
    """A refusal with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Method:
    """What a request's params decode to, and what answers it."""

    params: type[Any]
    answer: Callable[[Any], Awaitable[Any]]


class _Request(msgspec.Struct):
    jsonrpc: str = ""
    id: int = 0
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


async def respond(line: bytes, methods: dict[str, Method]) -> bytes:
    """The response to one line, without its newline."""
    try:
        request = msgspec.json.decode(line, type=_Request)
    except msgspec.MsgspecError as error:
        return _encode({"error": {"code": PARSE, "message": str(error)}, "id": 0, "jsonrpc": "2.0"})
    try:
        result = await _call(request, methods)
        return _encode({"id": request.id, "jsonrpc": "2.0", "result": result})
    except Exception as error:  # noqa: BLE001 - every failure is an answer
        code, message = _describe(error)
        return _encode({"error": {"code": code, "message": message}, "id": request.id, "jsonrpc": "2.0"})


async def _call(request: _Request, methods: dict[str, Method]) -> Any:
    if request.jsonrpc != "2.0":
        raise Failure(REQUEST, 'jsonrpc must be "2.0"')
    method = methods.get(request.method)
    if method is None:
        raise Failure(METHOD, f"unknown method {request.method!r}")
    try:
        params = msgspec.json.decode(request.params, type=method.params)
    except msgspec.MsgspecError as error:
        raise Failure(PARAMS, str(error)) from error
    return await method.answer(params)


def _describe(error: Exception) -> tuple[int, str]:
    if isinstance(error, Failure):
        return error.code, str(error)
    if isinstance(error, NotFoundError):
        return NOT_FOUND, str(error)
    if isinstance(error, (RivermillError, asyncpg.PostgresError, *DATABASE_ERRORS)):
        return REFUSED, str(error) or type(error).__name__
    logger.error("the adapter failed", exc_info=error)
    return INTERNAL, repr(error)


def _encode(response: dict[str, Any]) -> bytes:
    return msgspec.json.encode(response)
