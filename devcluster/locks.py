"""Keeps two runs of the same step apart."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from devcluster import paths
from devcluster.progress import say


@contextmanager
def lock(name: str, what: str) -> Iterator[None]:
    """Hold the lock ``name``; it ends with the process that holds it, however that ends.

    Args:
        name: of its file in the cache.
        what: what another process must be doing, if this one has to wait.
    """
    with (paths.cache() / f"{name}.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another {what}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
