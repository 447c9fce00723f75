"""Worker processes that are killed or stopped under load."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import pairwise

from rivermill import Client, InsertOpts, InsertParams, SequenceOpts
from tests.chaos.app import Interval
from tests.chaos.conftest import JOBS, Mill

RESCUED = "SELECT array_agg(id ORDER BY id) FROM river_job WHERE metadata ? 'river:rescue_count'"
#: What the database says a process runs: what ended there and was not written yet is in it.
RUNNING_IN = """
SELECT array_agg(id ORDER BY id) FROM river_job WHERE state = 'running'
AND attempted_by[array_length(attempted_by, 1)] = (SELECT client_id FROM rivermill_client WHERE pid = $1)
"""
CONNECTIONS_OF = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = (SELECT left('rivermill ' || client_id, 63) FROM rivermill_client WHERE pid = $1)
"""


async def test_jobs_of_a_killed_worker_are_rescued_and_none_runs_twice_at_once(mill: Mill) -> None:
    await mill.enqueue()
    await mill.until(lambda: len(mill.runs()) >= 40)
    victim = mill.processes[0]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed_at = time.time()
    await mill.until_no(CONNECTIONS_OF, victim.pid)  # a statement it had sent may still be at work
    lost = await mill.value(RUNNING_IN, victim.pid)
    assert lost
    await mill.finish()
    assert len({run.job for run in mill.runs()}) == JOBS
    assert await mill.value(RESCUED) == lost
    assert mill.twice_at_once({victim.pid: killed_at}) == []


async def test_a_stopped_worker_loses_its_jobs_and_cannot_end_them_later(mill: Mill) -> None:
    """As after a frozen machine: what it still finishes is not written over the result of the one that did the job again."""
    await mill.enqueue(seconds=2.0, count=60)
    await mill.until(lambda: len({run.pid for run in mill.runs()}) == 2)
    stopped, other = mill.processes
    stopped.send_signal(signal.SIGSTOP)
    held = {run.job for run in mill.runs() if run.pid == stopped.pid and run.ended is None}
    assert held
    try:
        await mill.finish()
    finally:
        stopped.send_signal(signal.SIGCONT)
    again = {run.job for run in mill.runs() if run.pid == other.pid and run.attempt > 1}
    assert held <= again
    before = await mill.value("SELECT json_agg(j ORDER BY id) FROM river_job AS j")
    await mill.until(lambda: all(run.ended for run in mill.runs()))
    await asyncio.sleep(2.0)  # what is written too much would be written in the next batch
    assert await mill.value("SELECT json_agg(j ORDER BY id) FROM river_job AS j") == before
    count = len([run for run in mill.runs() if run.pid == stopped.pid])
    await mill.enqueue(count=40, seconds=0.1)
    await mill.finish()
    assert len([run for run in mill.runs() if run.pid == stopped.pid]) > count, "it works on"


async def test_sequences_keep_their_order_when_a_worker_is_killed(mill: Mill) -> None:
    """Killed where it may be: before a job ends, between its end and the next turn, or after that."""
    opts = InsertOpts(sequence=SequenceOpts(by_args=["seconds"]))
    lengths = [0.010 + number / 1000 for number in range(15)]
    async with Client(mill.postgres.url()) as client:
        jobs = await client.insert_many([InsertParams(Interval(seconds), opts) for _ in range(20) for seconds in lengths])
    sequence = {result.job.id: result.job.args["seconds"] for result in jobs}
    await mill.until(lambda: len(mill.runs()) >= 100)
    victim = mill.processes[0]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed_at = time.time()
    await mill.finish()
    runs = sorted(mill.runs(), key=lambda run: run.started)
    assert {run.job for run in runs} == set(sequence)
    for seconds in lengths:
        pairs = list(pairwise(run for run in runs if sequence[run.job] == seconds))
        assert [(a, b) for a, b in pairs if a.job > b.job or b.started < (a.ended or killed_at)] == []
