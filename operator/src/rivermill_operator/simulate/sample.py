"""Looks at a simulation while it runs, for plots."""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """One look at a simulation; ``strain`` is the wait of the oldest job in goals of its queue, the worst of all queues."""

    at: float
    waiting: int
    running: int
    ready: int
    pods: int
    strain: float
