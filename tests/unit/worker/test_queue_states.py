"""Which of many queues are due, when, and what is looked at for that."""

from __future__ import annotations

from collections import Counter

import pytest

from rivermill.config import QueueConfig
from rivermill.queue_state import QueueState
from rivermill.queue_states import MOST_AT_ONCE, QueueStates

FREE = 100


class Queues(QueueStates):
    """Queues of 10 slots that are claimed from each second at least."""

    def __init__(self, *names: str) -> None:
        self.held: Counter[str] = Counter()
        super().__init__(lambda name: self.held[name], lambda: FREE)
        for name in names:
            self.add(name, QueueState(QueueConfig(10), cooldown=0.01, interval=1.0))

    def claimed(self, now: float, *names: str, found: int = 0, hungry: bool = False) -> None:
        self.begin(names, now)
        for name in names:
            self.settle(name, found=found, hungry=hungry)

    def due_at(self, now: float, free: int = FREE) -> float:
        return self.outlook(now, free, sum(self.held.values()))[0]


def test_new_queues_are_due_at_once_and_claimed_ones_when_they_are_polled_or_wanted() -> None:
    queues = Queues("a", "b")
    assert list(queues.due(100.0, FREE)) == ["a", "b"]
    queues.claimed(100.0, "a", "b")
    assert queues.due(100.5, FREE) == {}
    assert 101.0 <= queues.due_at(100.5) <= 101.1
    assert list(queues.due(101.1, FREE)) == ["a", "b"]
    queues.claimed(101.1, "a", "b")
    assert queues.want("b")
    assert list(queues.due(101.11, FREE)) == ["b"]
    assert not queues.want("of another client")


def test_a_claim_that_brought_something_is_followed_by_one_more() -> None:
    queues = Queues("a", "b")
    queues.claimed(100.0, "a", found=1)
    queues.claimed(100.0, "b")
    assert queues.due_at(100.001) == 100.01
    assert list(queues.due(100.02, FREE)) == ["a"]
    queues.claimed(100.02, "a")
    assert queues.due_at(100.1) > 100.5


def test_what_would_be_polled_soon_is_polled_with_the_first() -> None:
    queues = Queues("first", "soon", "late", "closed")
    queues.claimed(100.0, "first")
    queues.claimed(100.3, "soon", "closed")
    queues["closed"].closed = True
    queues.claimed(100.95, "late")
    assert list(queues.due(101.1, FREE)) == ["first", "soon"]
    queues.claimed(101.1, "first", "soon")
    assert list(queues.due(101.4, FREE)) == ["closed"]
    queues.claimed(101.4, "closed")
    assert 101.95 <= queues.due_at(101.5) <= 102.05


def test_a_poll_that_is_due_while_a_queue_is_full_goes_out_once_there_is_room() -> None:
    queues = Queues("a", "b")
    queues.claimed(100.0, "a", "b")
    queues.held["a"] = 10
    assert list(queues.due(101.2, FREE)) == ["b"]
    queues.claimed(101.2, "b")
    assert queues.outlook(101.3, FREE, 10) == (pytest.approx(102.25, abs=0.06), 9)
    queues.held["a"] = 9
    assert queues.due_at(101.3) < 101.3
    assert list(queues.due(101.3, FREE)) == ["a"]


def test_an_earlier_opening_of_a_limited_queue_is_kept() -> None:
    queues = Queues("a", "b")
    queues.claimed(100.0, "b")
    queues.begin(["a"], 100.0)
    queues["a"].closed, queues["a"].poll_at = True, 100.25
    queues.settle("a", found=0, hungry=False)
    assert queues.due_at(100.1) == 100.25


def test_paused_and_leaving_queues_are_not_looked_at() -> None:
    queues = Queues("a", "b", "c")
    assert queues.set_paused("a", paused=True) == ["a"]
    assert queues.set_paused("a", paused=True) == queues.set_paused("no such", paused=True) == []
    queues.leave("c")
    queues.want_all()
    assert list(queues.due(100.0, FREE)) == ["b"]
    queues.claimed(100.0, "b")
    assert queues.due_at(200.0) < 200.0  # b's poll
    queues.claimed(200.0, "b")
    assert queues.set_paused("*", paused=True) == ["b", "c"]
    assert queues.due_at(300.0) == float("inf")
    assert queues.set_paused("*", paused=False) == ["a", "b", "c"]
    assert list(queues.due(300.0, FREE)) == ["a", "b"]
    for name in ("a", "b"):
        queues.remove(name)
    assert queues.due_at(400.0) == float("inf")
    assert queues.get("a") is None


@pytest.mark.parametrize(
    ("held", "hungry", "free", "threshold"),
    [
        ({"a": 10}, ["a"], 90, 9),  # its first free slot
        ({"a": 9}, ["a"], 91, 7),  # a quarter of its slots; until then a claim is due when the cooldown is over
        ({"a": 10, "b": 10}, ["a"], 80, 19),
        ({"a": 5, "b": 5}, ["a", "b"], 0, 9),  # the first free slot of the process
        ({"a": 5, "b": 5}, ["a", "b"], -2, 7),  # the first one that would be free
        ({"b": 10}, [], 90, 9),  # b was wanted meanwhile
        ({"a": 10}, [], 0, -1),  # nothing more is there
        ({}, [], 100, -1),
    ],
)
def test_how_few_jobs_are_a_reason_to_look_again(held: dict[str, int], hungry: list[str], free: int, threshold: int) -> None:
    queues = Queues("a", "b")
    queues.claimed(100.0, "a", "b")
    queues.held.update(held)
    for name in hungry:
        queues.settle(name, found=1, hungry=True)
    if queues.held["b"] == 10:
        queues.want("b")
    assert queues.outlook(100.001, free, sum(held.values()))[1] == threshold


def test_what_was_claimed_ahead_fills_slots_until_there_is_room_for_a_batch() -> None:
    queues = Queues("a")
    for step in range(3):
        queues.restock("a", 100.0 + step * 0.1, step * 1_000)
    queues.claimed(100.3, "a", hungry=True)
    stock = queues["a"].stock
    queues.held["a"] = 10 + stock.ahead
    assert stock.ahead >= stock.batch > 1
    assert queues.outlook(100.301, 0, queues.held["a"]) == (float("inf"), queues.held["a"] - stock.batch)
    queues.set_limited("a", limited=True)
    assert queues.ahead == 0


def test_no_more_queues_are_claimed_from_at_once_and_the_longest_unclaimed_are_next() -> None:
    names = [f"q{number}" for number in range(MOST_AT_ONCE * 2)]
    queues = Queues(*names)
    first = list(queues.due(100.0, FREE))
    assert first == names[:MOST_AT_ONCE]
    queues.begin(first, 100.0)
    for name in first[:10]:
        queues.settle(name, found=1, hungry=True)
    for name in first[10:]:
        queues.not_reached(name)
    second = list(queues.due(100.02, FREE))
    assert second == [*names[10:MOST_AT_ONCE], *names[MOST_AT_ONCE : MOST_AT_ONCE + 10]]


def test_jobs_to_claim_ahead_are_those_of_queues_that_may_be_claimed_from() -> None:
    queues = Queues("a", "b", "limited")
    queues.set_limited("limited", limited=True)
    for step in range(3):
        for name in ("a", "b", "limited"):
            queues.restock(name, 100.0 + step * 0.1, step * 1_000)
    each = queues["a"].stock.ahead
    assert (queues.ahead, queues["limited"].stock.ahead) == (2 * each, 0)
    assert queues.room("a", 1_000_000) == 10 + each
    queues.set_paused("b", paused=True)
    assert queues.ahead == each > 0
    queues.restock("a", 101.0, 2_000)
    queues.restock("a", 102.0, 2_000)
    assert queues.ahead == 0


def test_limited_queues_are_known() -> None:
    queues = Queues("a", "b")
    queues.claimed(100.0, "a", "b")
    queues["b"].closed = True
    queues.set_limited("b", limited=True)
    assert [name for name, _ in queues.limited()] == ["b"]
    assert list(queues.due(100.5, FREE)) == ["b"]  # its limits may be others now
    queues.set_limited("b", limited=False)
    assert list(queues.limited()) == []


def test_hungry_queues_wait_for_each_other_unless_there_is_room_for_a_batch() -> None:
    queues = Queues("a", "b", "c")
    queues.claimed(99.5, "c")
    queues.claimed(100.0, "a", "b", hungry=True)
    queues.claimed(100.005, "b", hungry=True)
    queues.held.update(a=7, b=10)
    queues.want("c")
    assert list(queues.due(100.006, FREE)) == ["c"]  # a alone has room for half of what both would be worth a claim for
    assert queues.outlook(100.006, FREE, 17)[0] <= 100.006
    queues.claimed(100.007, "c")
    assert queues.due_at(100.008) == pytest.approx(100.017)
    assert list(queues.due(100.018, FREE)) == ["a"]
    queues.held["a"] = 4
    assert list(queues.due(100.009, FREE)) == ["a"]
    queues.held["a"] = queues.held["b"] = 7
    assert list(queues.due(100.009, FREE)) == ["a", "b"]
    assert queues.due(100.009, 5) == {}
