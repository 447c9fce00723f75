"""Steps that run side by side."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

_AGAIN_SECONDS = 0.2


def together(*steps: Callable[[], object]) -> None:
    """Run steps side by side, and return when all are done.

    The first that fails, or a signal, ends the programs that the others wait for: nobody waits ten minutes for a build
    whose result is of no use any more.

    Raises:
        BaseException: what the first that failed has raised.
    """
    with ThreadPoolExecutor(len(steps)) as pool:
        futures = [pool.submit(step) for step in steps]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            _end(futures)
        for future in done:
            future.result()


def end_programs() -> None:
    """Ask the programs that this one waits for, in whatever thread, to end."""
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def children() -> list[int]:
    """Child processes of this one in its own process group: those that a Ctrl-C of a terminal reaches too."""
    pids = []
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids += [int(pid) for pid in listing.read_text(encoding="ascii").split()]
    return [pid for pid in pids if _group(pid) == os.getpgrp()]


def _end(futures: Sequence[Future[object]]) -> None:
    """End what still runs; a step may start another program after its first was ended."""
    while not all(future.done() for future in futures):
        end_programs()
        wait(futures, timeout=_AGAIN_SECONDS)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
