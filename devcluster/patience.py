"""Waiting for what starts by itself, with a word now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from devcluster.progress import say

#: A busy computer takes minutes for what an idle one does in seconds; what has failed is told by its process, which ends.
PATIENCE_SECONDS = 300.0
_TOLD_SECONDS = 15.0


def wait_for(
    what: str,
    come: Callable[[], bool],
    alive: Callable[[], bool],
    *,
    pause: float = 0.1,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait for at most ``PATIENCE_SECONDS``, and say every 15 s that it goes on.

    Args:
        what: is waited for, as in "waiting for the API server".
        come: whether it is there.
        alive: whether it may still come.
        pause: seconds between two looks.
        clock: monotonic seconds.
        sleep: waits so many seconds.

    Returns:
        Whether it came.
    """
    began = told = clock()
    while not come():
        now = clock()
        if not alive() or now - began >= PATIENCE_SECONDS:
            return False
        if now - told >= _TOLD_SECONDS:
            say(f"waiting for {what}: {now - began:.0f} s so far, {PATIENCE_SECONDS:.0f} s at most")
            told = now
        sleep(pause)
    return True
