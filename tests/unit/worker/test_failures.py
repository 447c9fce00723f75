"""What failures of a client's first attempts lead to: reports, and no claims for a moment."""

from __future__ import annotations

import pytest

from rivermill import PodIdentity
from rivermill.failures import HOLD_SECONDS, Failures
from rivermill.gate import Gate

IN_POD, ELSEWHERE = PodIdentity("n", "p", "u", None), PodIdentity()


@pytest.mark.parametrize(
    ("outcomes", "pod", "reports", "held"),
    [
        ("", IN_POD, 0, False),
        ("..............", IN_POD, 0, False),
        ("xx", IN_POD, 0, False),
        ("xxx", IN_POD, 1, True),
        ("x.x.x", IN_POD, 1, True),
        ("...xxx", IN_POD, 1, True),
        # Fewer than half of them.
        ("....xxx", IN_POD, 1, False),
        # The next report when failures have doubled, so that there are few however many fail.
        ("xxxxx", IN_POD, 1, True),
        ("xxxxxx", IN_POD, 2, True),
        ("x" * 1000, IN_POD, 9, True),
        # What fails most of the time only later, when its trial has ended.
        ("." * 18 + "xxx", IN_POD, 1, False),
        ("." * 15 + "x" * 24, IN_POD, 4, False),
        # Nobody could think about it there.
        ("xxx", ELSEWHERE, 1, False),
    ],
)
def test_failures_are_reported_and_those_of_the_first_attempts_hold_claims(
    outcomes: str, pod: PodIdentity, reports: int, held: bool
) -> None:
    gate, beats, seen = Gate(), list[str](), [0, 0]
    failures = Failures(
        pod, lambda: {"a": (seen[0] // 2, 0), "b": (seen[0] - seen[0] // 2, seen[1])}, gate, lambda: beats.append("")
    )
    for outcome in outcomes:
        seen[0] += 1
        if outcome == "x":
            seen[1] += 1
            failures.add()
    assert (failures.reports, len(beats), gate.closed) == (reports, reports, held)


def test_a_hold_ends_by_itself_and_a_cordon_does_not() -> None:
    gate = Gate()
    assert (gate.closed, gate.opens_after) == (False, 0.0)
    gate.hold(HOLD_SECONDS)
    gate.hold(0.0)
    assert gate.closed
    assert 0 < (gate.opens_after or 0) <= HOLD_SECONDS
    gate.cordoned = True
    assert (gate.closed, gate.opens_after) == (True, None)
    gate.cordoned = False
    assert gate.closed
    over = Gate()
    over.hold(0.0)
    assert not over.closed
