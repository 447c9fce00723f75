"""Ctrl-C and SIGTERM: programs that were started end, what was made is cleaned up, and cleaning up is not cut off."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

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


def children() -> list[int]:
    """Child processes of this one in its own process group: those that a Ctrl-C of a terminal reaches too."""
    pids = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids += [int(pid) for pid in listing.read_text(encoding="ascii").split()]
    return [pid for pid in pids if _group(pid) == os.getpgrp()]


def _answer(_: int, __: FrameType | None) -> None:
    sys.stderr.write("demo: cleaning up, one moment\n")


def _interrupt(_: int, __: FrameType | None) -> None:
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    raise KeyboardInterrupt


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@contextlib.contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
