"""Waiting for a cluster that takes its time, by a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from devcluster.patience import PATIENCE_SECONDS, wait_for


@dataclass
class Clock:
    """Time passes while somebody sleeps."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("comes", "dies", "came", "seconds", "told"),
    [
        (0.0, 1e9, True, 0, []),
        (14.0, 1e9, True, 14, []),
        (31.0, 1e9, True, 31, ["15 s so far, 300 s at most", "30 s so far, 300 s at most"]),
        (280.0, 1e9, True, 280, None),
        # A process that has ended is not waited for.
        (1e9, 5.0, False, 5, []),
        (1e9, 1e9, False, PATIENCE_SECONDS, None),
    ],
)
def test_waiting(
    capsys: pytest.CaptureFixture[str], comes: float, dies: float, *, came: bool, seconds: float, told: list[str] | None
) -> None:
    clock = Clock()
    found = wait_for(
        "node 1",
        lambda: clock.now >= 100.0 + comes,
        lambda: clock.now < 100.0 + dies,
        pause=1.0,
        clock=clock,
        sleep=clock.sleep,
    )
    assert (found, clock.now - 100.0) == (came, seconds)
    lines = capsys.readouterr().err.splitlines()
    assert all("waiting for node 1: " in line for line in lines)
    if told is not None:
        assert [line.partition("node 1: ")[2] for line in lines] == told
    else:
        assert len(lines) == (seconds - 1) // 15
