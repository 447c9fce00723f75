"""The database is taken from workers under load, and comes back."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.chaos.conftest import JOBS, Mill

TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def check(mill: Mill) -> None:
    assert len({run.job for run in mill.runs()}) == JOBS
    assert mill.twice_at_once() == []
    assert [process.poll() for process in mill.processes] == [None, None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "crash"])
async def test_a_restart_loses_nothing_and_repeats_nothing(mill: Mill, number: signal.Signals) -> None:
    """What had ended while it was away is written when it is back, not done again."""
    await mill.enqueue()
    for count in (40, 140):
        await mill.until(lambda count=count: len(mill.runs()) >= count)  # type: ignore[misc]
        await asyncio.to_thread(mill.postgres.stop, number)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(mill.postgres.start)
    await mill.finish()
    check(mill)
    assert [run for run in mill.runs() if run.attempt > 1] == []


async def test_terminated_connections_are_made_again(mill: Mill) -> None:
    await mill.enqueue()
    for count in (20, 80, 140, 200):
        await mill.until(lambda count=count: len(mill.runs()) >= count)  # type: ignore[misc]
        assert await mill.value(TERMINATE) > 0
    await mill.finish()
    check(mill)
    assert [run for run in mill.runs() if run.attempt > 1] == []
