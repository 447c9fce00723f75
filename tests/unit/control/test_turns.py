"""Growth comes first, for a while, and nobody who gives up leaves a trace."""

from __future__ import annotations

import asyncio

import pytest

from rivermill_operator.control import turns as module
from rivermill_operator.control.turns import Turn, Turns


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_tells_of_fleets_waits_until_all_have_grown() -> None:
    turns, written = Turns(1), list[str]()

    async def write(turn: Turn, what: str, answered: asyncio.Event) -> None:
        async with turn:
            await answered.wait()
            written.append(what)

    at_once, answers = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
    at_once.set()
    async with asyncio.TaskGroup() as group:
        for number, answer in enumerate(answers):
            group.create_task(write(turns.growth, f"growth {number}", answer))
        await settle()
        group.create_task(write(turns.report, "report", at_once))
        group.create_task(write(turns.fleet, "fleet", at_once))
        for number, answer in enumerate(answers):
            await settle()
            assert len(written) == number
            answer.set()
    assert written[:2] == ["growth 0", "growth 1"]
    assert sorted(written[2:]) == ["fleet", "report"]


async def test_growth_that_never_ends_is_waited_for_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    turns = Turns()
    async with turns.growth, turns.fleet, turns.report:
        assert not turns.growth.free.locked()


async def test_who_gives_up_waiting_holds_nobody_up() -> None:
    turns = Turns(1)

    async def grow() -> None:
        async with turns.growth:
            raise AssertionError("it never comes to this")

    async with turns.growth:
        waiting = asyncio.create_task(grow())
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(1), turns.report:
        assert not turns.report.free.locked()
