"""What processes that are forked from one with an event loop do about signals.

They inherit the handlers of the loop, and the file descriptor by which a signal wakes it: a signal that is sent to one of them
would do nothing to it and stop the client of its parent instead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

#: Those that end a process.
SIGNALS = tuple(number for number in signal.Signals if number.name in ("SIGTERM", "SIGINT", "SIGHUP"))

#: The signal mask of a thread that forks.
_mask = threading.local()


@cache  # for good, and once
def part_children() -> None:
    """From now on let signals end forked children as they end any process, and tell this one nothing of them.

    Handlers of the application's own stay as they are.
    """
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_part)


def ignore_signals() -> None:
    """Let signals do nothing to this process, and what they always do to those that it starts."""
    for number in SIGNALS:
        signal.signal(number, _ignore)  # what is ignored by SIG_IGN is ignored by all that it executes, too
    part_children()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait at a process that is started here, until it calls ``ignore_signals``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hold() -> None:
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _part() -> None:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        if _is_parents(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _release()


def _is_parents(handler: Any) -> bool:
    """Whether it is ours, or one that an event loop of asyncio's or uvloop's has set."""
    function = getattr(handler, "func", handler)  # asyncio.run sets a partial
    if function is _ignore or isinstance(getattr(function, "__self__", None), asyncio.AbstractEventLoop):
        return True
    return str(getattr(function, "__module__", "")).startswith("asyncio.")


def _ignore(number: int, frame: FrameType | None) -> None:
    """The parent ends this process."""
