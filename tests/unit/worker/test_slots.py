"""Which jobs run, which wait, how many are claimed ahead, and when their time is up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from rivermill.config import QueueConfig
from rivermill.deadlines import Deadlines
from rivermill.lookahead import Flow, jobs_ahead
from rivermill.producer import _QueueState
from rivermill.slots import Slots
from rivermill.tallies import Spreads, Tallies


def test_jobs_wait_beyond_the_slots_of_the_process_and_of_their_queue() -> None:
    slots: Slots[str] = Slots(3, {"a": 2, "b": 2})
    a, b = slots.queues["a"], slots.queues["b"]
    assert [slots.admit(a, name) for name in ("a1", "a2", "a3")] == [True, True, False]
    assert [slots.admit(b, name) for name in ("b1", "b2")] == [True, False]
    assert (slots.running, slots.waiting, a.held, b.held) == (3, 2, 3, 2)
    assert slots.release(a) == "a3"
    assert slots.release(a) == "b2"
    assert slots.release(b) is None
    assert (slots.running, slots.waiting, a.ended, b.ended) == (2, 0, 2, 1)


def test_a_withdrawn_job_does_not_run_and_a_seized_slot_is_not_passed_on() -> None:
    slots: Slots[str] = Slots(1, {"a": 1})
    a = slots.queues["a"]
    for name in ("first", "second", "third"):
        slots.admit(a, name)
    slots.withdraw(a, "second")
    slots.seize(a, "third")
    assert (slots.running, slots.all_waiting()) == (2, [])
    slots.admit(a, "fourth")
    assert slots.release(a) is None
    assert slots.release(a) == "fourth"
    with pytest.raises(ValueError, match="not in"):
        slots.withdraw(a, "second")


def flow(per_window: tuple[int, ...], claim_seconds: float = 0.004) -> Flow:
    result, ended = Flow(), 0
    result.claimed(claim_seconds)
    for number, count in enumerate(per_window):
        ended += count
        result.count(100.0 + number * 0.1, ended)
    return result


@pytest.mark.parametrize(
    ("per_window", "max_workers", "ahead"),
    [
        ((0,), 100, 0),
        ((0, 1010, 1010), 100, 90),  # 10,000 a second: 40 in a claim, and half of the slots before it
        ((0, 100_000, 100_000), 100, 100),  # never more than the slots
        ((0, 1000, 0), 100, 0),  # a burst is no flow
        ((0, 1, 1), 100, 0),  # jobs of 10 s
        ((0, 10, 10), 100, 1),  # jobs of 1 s
    ],
)
def test_only_jobs_that_a_slot_will_be_free_for_are_claimed_ahead(
    per_window: tuple[int, ...], max_workers: int, ahead: int
) -> None:
    assert jobs_ahead(flow(per_window), max_workers, 0.01) == ahead


@pytest.mark.parametrize(
    ("changes", "room", "due"),
    [
        ({"wanted": True}, 10, 5.01),
        ({"wanted": False}, 10, 7.0),
        ({"wanted": True, "hungry": True}, 4, 5.01),
        ({"wanted": True, "hungry": True}, 5, 5.0),  # more is there, and room for half of the slots
        ({"wanted": True, "hungry": True}, 0, float("inf")),
        ({"wanted": True, "paused": True}, 10, float("inf")),
    ],
)
def test_when_a_claim_is_due(changes: dict[str, bool], room: int, due: float) -> None:
    state = _QueueState(QueueConfig(10), claimed_at=5.0, poll_at=7.0, **changes)
    assert state.due_at(0.01, room) == due


@dataclass(eq=False)
class Item:
    name: str
    done: bool = False


async def test_deadlines_of_what_is_not_done_expire_in_their_order() -> None:
    expired: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[Item] = Deadlines(lambda item: expired.put_nowait(item.name))
    now = time.monotonic()
    deadlines.add(now + 0.02, Item("late"))
    deadlines.add(now + 0.01, Item("early"))
    deadlines.add(now + 0.015, Item("done", done=True))
    deadlines.add(now + 600, Item("far"))
    assert [await expired.get(), await expired.get()] == ["early", "late"]
    assert (expired.empty(), len(deadlines)) == (True, 1)
    deadlines.close()
    assert len(deadlines) == 0


async def test_deadlines_do_not_keep_what_is_done() -> None:
    deadlines: Deadlines[Item] = Deadlines(lambda _: None)
    for _ in range(50_000):
        deadlines.add(time.monotonic() + 600, Item("x", done=True))
    assert len(deadlines) <= 4096
    deadlines.close()


def test_tallies_and_spreads_are_scraped_as_counters_and_histograms() -> None:
    registry = CollectorRegistry()
    tallies = Tallies("ended", "Ended.", ["queue"], registry)
    spreads = Spreads("took_seconds", "Took.", ["queue"], (0.1, 1), registry)
    tallies.labels("q").inc()
    tallies.labels("q").inc(2)
    for value in (0.1, 0.5, 7.0):
        spreads.labels("q").observe(value)
    lines = set(generate_latest(registry).decode().splitlines())
    assert 'ended_total{queue="q"} 3.0' in lines
    assert 'took_seconds_bucket{le="0.1",queue="q"} 1.0' in lines
    assert 'took_seconds_bucket{le="1.0",queue="q"} 2.0' in lines
    assert 'took_seconds_bucket{le="+Inf",queue="q"} 3.0' in lines
    assert 'took_seconds_count{queue="q"} 3.0' in lines
    assert 'took_seconds_sum{queue="q"} 7.6' in lines
