"""Which jobs run, which wait, how many are claimed ahead, and when their time is up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from rivermill.config import QueueConfig
from rivermill.deadlines import Deadlines
from rivermill.limited_claim import LimitedClaims
from rivermill.lookahead import Flow, Stock, stock_for
from rivermill.queue_state import QueueState
from rivermill.slots import Slots
from rivermill.tallies import Spreads, Tallies


def test_jobs_wait_beyond_the_slots_of_the_process_and_of_their_queue() -> None:
    slots: Slots[str] = Slots(3, {"a": 2, "b": 2})
    a, b = slots.queues["a"], slots.queues["b"]
    assert slots.admit(a, ["a1", "a2", "a3"]) == ["a1", "a2"]
    assert slots.admit(b, ["b1", "b2"]) == ["b1"]
    assert (slots.running, slots.waiting, a.held, b.held) == (3, 2, 3, 2)
    assert slots.release(a) == "a3"
    assert slots.release(a) == "b2"
    assert slots.release(b) is None
    assert (slots.running, slots.waiting, a.ended, b.ended) == (2, 0, 2, 1)


def test_a_withdrawn_job_does_not_run_and_a_seized_slot_is_not_passed_on() -> None:
    slots: Slots[str] = Slots(1, {"a": 1})
    a = slots.queues["a"]
    assert slots.admit(a, ["first", "second", "third"]) == ["first"]
    slots.withdraw(a, "second")
    slots.seize(a, "third")
    assert (slots.running, slots.all_waiting()) == (2, [])
    assert slots.admit(a, ["fourth"]) == []
    assert slots.release(a) is None
    assert slots.release(a) == "fourth"
    with pytest.raises(ValueError, match="not in"):
        slots.withdraw(a, "second")


def flow(per_window: tuple[int, ...], claim_seconds: float = 0.004) -> Flow:
    result, ended = Flow(), 0
    result.claimed(claim_seconds)
    for number, count in enumerate(per_window):
        ended += count
        result.count(100.0 + number * 0.125, ended)
    return result


@pytest.mark.parametrize(
    ("per_window", "slots", "stock"),
    [
        ((0,), 100, Stock(0, 25)),
        ((0,), 1, Stock(0, 1)),
        ((0, 1262, 1262), 100, Stock(282, 201)),  # 10,000 a second: 20 ms of them, and what ends during two claims
        ((0, 1262, 1262), 1, Stock(282, 201)),
        ((0, 100_000, 100_000), 100, Stock(2000, 2000)),  # there is an end to it
        ((0, 1000, 0), 100, Stock(0, 25)),  # a burst is no flow
        ((0, 1, 1), 100, Stock(0, 25)),  # jobs of 10 s
        ((0, 126, 126), 100, Stock(28, 20)),  # jobs of 100 ms
    ],
)
def test_only_jobs_that_a_slot_will_be_free_for_are_claimed_ahead(
    per_window: tuple[int, ...], slots: int, stock: Stock
) -> None:
    assert stock_for(flow(per_window), slots) == stock


def test_a_flow_is_known_after_two_windows_of_jobs_and_over_after_one_without() -> None:
    flow = Flow()
    seen = [flow.count(now, ended) for now, ended in ((100.0, 0), (100.01, 250), (100.025, 250), (100.04, 499), (100.05, 500))]
    assert seen == [True, False, True, False, True]
    assert flow.per_second == pytest.approx(10_000)
    assert not flow.count(100.149, 700)
    assert flow.count(100.15, 700)
    assert flow.per_second == pytest.approx(2_000)
    flow.count(100.26, 700)
    assert flow.per_second == 0


def test_a_short_burst_is_not_claimed_ahead_of() -> None:
    flow = Flow()
    for step in range(7):  # 200 jobs in 60 ms
        flow.count(100.0 + step * 0.01, step * 32)
    assert stock_for(flow, 32) == Stock(0, 8)


def test_only_claims_that_somebody_asked_for_tell_that_others_are_faster() -> None:
    state = QueueState(QueueConfig(10), cooldown=0.001, interval=1.0)
    for told, found, empty in ((True, 0, 1), (False, 0, 1), (True, 0, 2), (True, 3, 0), (False, 0, 0)):
        state.told = told
        state.begin(5.0, 0.0)
        state.begin(5.0, 0.0)  # limited queues are looked at before
        state.end(found=found, hungry=False)
        assert state.empty == empty


def test_a_slow_claim_does_not_let_more_be_claimed_ahead_than_is_worked_soon() -> None:
    assert stock_for(flow((0, 1262, 1262), claim_seconds=5.0), 100) == Stock(605, 302)


@pytest.mark.parametrize(
    ("changes", "room", "due"),
    [
        ({"wanted": True}, 10, 5.01),
        ({"wanted": False}, 10, 7.0),
        ({"wanted": True, "hungry": True}, 2, 5.01),
        ({"wanted": True, "hungry": True}, 3, 5.0),  # more is there, and room for a quarter of the slots
        ({"wanted": True, "hungry": True}, 0, float("inf")),
        ({"wanted": True, "paused": True}, 10, float("inf")),
        ({"wanted": True, "hungry": True, "closed": True}, 10, 7.0),
        ({"closed": True, "cooldown": 3.0}, 10, 8.0),
        ({"wanted": True, "cooldown": 0.001}, 10, 5.001),
        ({"wanted": True, "cooldown": 0.001, "empty": 2}, 10, 5.004),  # others are faster
        ({"wanted": True, "cooldown": 0.001, "empty": 10}, 10, 5.01),
        ({"wanted": True, "cooldown": 0.1, "empty": 10}, 10, 5.1),
        ({"wanted": True, "hungry": True, "cooldown": 0.001}, 2, 5.01),  # single slots are collected
        ({"wanted": False, "follow_at": 5.5}, 10, 5.5),
    ],
)
def test_when_a_claim_is_due(changes: dict[str, Any], room: int, due: float) -> None:
    times = {"cooldown": 0.01, "interval": 1.0, "claimed_at": 5.0, "poll_at": 7.0}
    assert QueueState(QueueConfig(10), **{**times, **changes}).due_at(room) == due


@pytest.mark.parametrize(
    ("claims", "due"),
    [
        (LimitedClaims([]), 7.0),
        (LimitedClaims([], opens_after=0.5, closed=True), 6.5),
        (LimitedClaims([], opens_after=3600.0, closed=True), 7.0),  # its limit may have been changed by then
        (LimitedClaims([], opens_after=0.5), 6.5),
    ],
)
def test_a_claim_is_due_when_the_rate_limit_lets_more_start(claims: LimitedClaims, due: float) -> None:
    state = QueueState(QueueConfig(10), cooldown=0.01, interval=1.0, claimed_at=5.0, poll_at=7.0, wanted=False)
    state.keep_to(claims, 6.0)
    assert state.due_at(1) == due
    state.wanted = True  # jobs were inserted
    assert state.due_at(1) == (due if claims.closed else 5.01)


@dataclass(eq=False)
class Item:
    name: str
    deadline: float


async def test_deadlines_of_what_has_not_ended_expire_in_their_order() -> None:
    now = time.monotonic()
    items = {name: Item(name, now + after) for name, after in (("late", 0.02), ("early", 0.01), ("ended", 0.015), ("far", 600))}
    expired: asyncio.Queue[str] = asyncio.Queue()
    deadlines: Deadlines[Item] = Deadlines(items.values, lambda item: expired.put_nowait(item.name))
    for item in items.values():
        deadlines.watch(item.deadline)
    del items["ended"]
    assert [await expired.get(), await expired.get()] == ["early", "late"]
    assert expired.empty()
    assert deadlines.earliest == items["far"].deadline
    deadlines.close()


async def test_one_look_finds_all_deadlines_that_have_come() -> None:
    at = time.monotonic() + 0.01
    items, looks = [Item(str(n), at + n * 1e-6) for n in range(100)], []
    expired: asyncio.Queue[str] = asyncio.Queue()

    def look() -> list[Item]:
        looks.append(1)
        return items

    deadlines: Deadlines[Item] = Deadlines(look, lambda item: expired.put_nowait(item.name))
    deadlines.watch(at + 0.001)
    assert [await expired.get() for _ in items] == [item.name for item in items]
    assert len(looks) == 1


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


def test_the_total_of_tallies_is_that_of_a_label_with_a_value() -> None:
    tallies = Tallies("ended", "Ended.", ["queue", "outcome"], CollectorRegistry())
    for queue, outcome in (("a", "completed"), ("b", "completed"), ("b", "failed"), ("completed", "failed")):
        tallies.labels(queue, outcome).inc(2)
    assert (tallies.total("outcome", "completed"), tallies.total("queue", "b"), tallies.total("queue", "c")) == (4, 4, 0)
