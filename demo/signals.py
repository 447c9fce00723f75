"""Ctrl-C and SIGTERM: programs that were started end, what was made is cleaned up, and cleaning up is not cut off."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from devcluster.steps import end_programs

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Within: a signal ends every program this one waits for, in whatever thread, and raises KeyboardInterrupt."""
    with _handled(_interrupt):
        yield


@contextlib.contextmanager
def interrupting_loop() -> Iterator[None]:
    """Within, for ``asyncio.run``: a signal cancels the main task, which then raises KeyboardInterrupt."""
    with _handled(lambda _, __: signal.raise_signal(signal.SIGINT)):
        # The default handler is the one that asyncio replaces by its own.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


@contextlib.contextmanager
def ignoring() -> Iterator[None]:
    """Within: a signal is answered by a line."""
    with _handled(_answer):
        yield


def _answer(_: int, __: FrameType | None) -> None:
    sys.stderr.write("demo: cleaning up, one moment\n")


def _interrupt(_: int, __: FrameType | None) -> None:
    sys.stderr.write("demo: stopping\n")
    end_programs()
    raise KeyboardInterrupt


@contextlib.contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
