"""What the benchmark of the command line prints and judges."""

from __future__ import annotations

import asyncio
import io

import pytest

from rivermill.bench.board import Board, go_duration, percentiles
from rivermill.bench.ending import Ending
from rivermill.bench.modes import wrong_states


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.85, "850ms"),
        (0.000_250_4, "250µs"),
        (0.850_25, "850.25ms"),
        (1.0, "1s"),
        (2.5, "2.5s"),
        (59.999_999_9, "1m0s"),
        (62.25, "1m2.25s"),
        (3_600.0, "1h0m0s"),
        (7_384.000_001, "2h3m4.000001s"),
    ],
)
def test_durations_are_printed_as_in_go(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize(
    ("states", "allowed", "said"),
    [
        ({"completed": 1_000}, ["completed"], ""),
        ({"completed": 600, "available": 400}, ["completed", "available"], ""),
        (
            {"completed": 998, "retryable": 1},
            ["completed"],
            "of 1,000 jobs inserted, 1 retryable, 999 in the table: all should be completed",
        ),
        ({}, ["completed", "available"], "of 1,000 jobs inserted, 0 in the table: all should be completed or available"),
    ],
)
def test_jobs_in_a_wrong_state_and_missing_ones_are_said(states: dict[str, int], allowed: list[str], said: str) -> None:
    assert wrong_states(states, 1_000, allowed) == said


def test_percentiles() -> None:
    assert percentiles(range(1, 101)) == {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "most_ms": 100}
    assert percentiles([]) == {}


async def test_totals_figures_and_lines_are_of_one_clock() -> None:
    out = io.StringIO()
    board = Board(Ending(), out)
    board.inserted = 3
    async with board.running():
        board.job_worked()
        await board.all_worked(1, patience=60)
        assert board.left == 2
    first, totals = out.getvalue().splitlines()
    assert first == "bench: jobs worked [          0 ], inserted [          3 ], job/sec [        0.0 ] [0s]"
    assert totals.startswith("bench: total jobs worked [          1 ], total jobs inserted [          3 ], overall job/sec [ ")
    figures = board.figures()
    assert figures["jobs_worked"] == 1
    assert totals.endswith(f"overall job/sec [ {figures['jobs_per_second']:10.1f} ], running {go_duration(figures['seconds'])}")


async def test_what_was_once_counted_as_worked_stays() -> None:
    """A job that is given back may hide one that is completed, until that is written."""
    board, counts = Board(Ending(), None), iter([0, 0, 5, 3, 6])
    board.inserted = 6
    async with board.running(lambda: next(counts, 6)):
        left = [board.left for _ in range(3)]
    assert (left, board.figures()["jobs_worked"]) == ([6, 1, 1], 6)


async def test_waiting_ends_without_progress_at_the_end_and_when_asked() -> None:
    async def waits(ending: Ending, patience: float) -> int:
        board = Board(ending, None)
        async with board.running():
            await board.all_worked(1, patience)
        return board.worked

    asked = Ending()
    asked.ask()
    async with asyncio.timeout(30):
        assert [await waits(ending, 60) for ending in (asked, Ending(0.01))] == [0, 0]
        assert await waits(Ending(), 0.01) == 0


async def test_time_counts_from_the_start_of_the_clock() -> None:
    ending = Ending(0.000_001)
    assert not ending.reached
    ending.start_clock()
    await ending.wait()
    assert ending.reached
