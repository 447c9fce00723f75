"""The event loop that the command line's programs run in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:
    _run: Callable[[Any], Any] = asyncio.run
else:
    _run = uvloop.run


ResultT = TypeVar("ResultT")


def run(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in uvloop where that is installed (the extra ``uvloop``), else in asyncio's own loop.

    Returns:
        What the coroutine returns.
    """
    result: ResultT = _run(main)
    return result
