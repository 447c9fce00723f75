"""What ``rivermill work`` works in the benchmarks: no-op jobs."""

from __future__ import annotations

from rivermill_worker import Noop

from rivermill import Job, Workers

workers = Workers()


@workers.work
async def work(_: Job[Noop]) -> None:
    """Do nothing."""
