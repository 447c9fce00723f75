"""When a client may claim."""

from __future__ import annotations

import pytest

from rivermill import gate as module
from rivermill.gate import Gate


class Clock:
    """What the gate takes for time."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_silence_closes_it_until_the_next_heartbeat(clock: Clock) -> None:
    gate = Gate(20.0)
    clock.now += 100
    assert not gate.closed  # it has not begun
    assert not gate.on_heartbeat(counts=True)
    clock.now += 20
    assert not gate.closed
    clock.now += 1
    assert gate.closed
    assert (gate.opens_after, gate.silent_seconds) == (None, 21.0)
    assert gate.on_heartbeat(counts=True)
    assert not gate.closed
    assert gate.opens_after == 0.0


def test_heartbeats_that_nobody_goes_by_close_nothing(clock: Clock) -> None:
    gate = Gate(20.0)
    gate.on_heartbeat(counts=True)
    gate.on_heartbeat(counts=False)
    clock.now += 100
    assert not gate.closed
    assert gate.silent_seconds == 0.0


def test_a_heartbeat_ends_no_cordon_and_no_hold(clock: Clock) -> None:
    gate = Gate(20.0)
    gate.hold(5.0)
    gate.on_heartbeat(counts=True)
    assert (gate.closed, gate.opens_after) == (True, 5.0)
    clock.now += 6
    gate.cordoned = True
    gate.on_heartbeat(counts=True)
    assert (gate.closed, gate.opens_after) == (True, None)
