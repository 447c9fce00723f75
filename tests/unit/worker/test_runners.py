"""Which attempts share a task, and what none of them may see of another."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest

from rivermill import runners as runners_module
from rivermill.runners import Runners

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="unset")


@dataclass(eq=False)
class Item:
    body: Callable[[], Awaitable[None]]
    at: float = 0.0
    task: asyncio.Task[None] | None = None
    ran_in: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


async def at_once() -> None:
    """Ends without waiting."""


async def wait_once() -> None:
    await asyncio.sleep(0)


async def execute(item: Item) -> None:
    item.at = time.monotonic()
    item.ran_in = asyncio.current_task()
    with contextlib.suppress(asyncio.CancelledError):
        await item.body()
    item.ended.set()


def each(function: Callable[[Item], Coroutine[Any, Any, None]]) -> Callable[[Iterator[Item]], Coroutine[Any, Any, None]]:
    async def run_all(items: Iterator[Item]) -> None:
        for item in items:
            await function(item)

    return run_all


async def run(*bodies: Callable[[], Awaitable[None]]) -> list[Item]:
    """Run them all, started together."""
    runners: Runners[Item] = Runners(each(execute))
    items = [Item(body) for body in bodies]
    runners.start(items)
    await all_done(items)
    assert all(item.ran_in is item.task for item in items)
    return items


async def all_done(items: list[Item]) -> None:
    for item in items:  # there may be more of them by then
        await item.ended.wait()


async def test_attempts_that_never_wait_share_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners_module, "_TURN_SECONDS", 60.0)  # however busy the computer is
    items = await run(*[at_once] * 20)
    assert len({item.task for item in items[:-1]}) == 1


async def test_attempts_that_wait_have_a_task_each_and_run_at_once() -> None:
    started = asyncio.Barrier(20)

    async def meet() -> None:
        await started.wait()

    items = await run(*[meet] * 20)
    assert len({item.task for item in items}) == 20


async def test_attempts_begin_in_one_turn_of_the_loop_where_others_have_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners_module, "_TURN_SECONDS", 60.0)  # however busy the computer is
    runners: Runners[Item] = Runners(each(execute))
    go_on = asyncio.Event()

    async def wait() -> None:
        await go_on.wait()

    first = [Item(wait), Item(wait)]
    runners.start(first)
    for _ in range(3):
        await asyncio.sleep(0)
    assert all(item.ran_in is not None for item in first)
    then = [Item(wait) for _ in range(20)]
    runners.start(then)
    await asyncio.sleep(0)
    assert all(item.ran_in is not None for item in then)
    go_on.set()
    await all_done([*first, *then])
    # Those that do not wait share a task again.
    items = [Item(at_once) for _ in range(3)]
    runners.start(items)
    await all_done(items)
    more = [Item(at_once) for _ in range(20)]
    runners.start(more)
    await all_done(more)
    assert len({item.task for item in more[:-1]}) == 1


async def test_nothing_runs_in_a_task_that_has_waited() -> None:
    items = await run(wait_once, at_once, wait_once, at_once, at_once, wait_once, wait_once, at_once)
    for number, item in enumerate(items):
        if item.body is wait_once:
            assert item.task not in [later.task for later in items[number + 1 :]]


async def test_context_variables_left_behind_are_not_seen_by_the_next() -> None:
    seen = []

    async def leave() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("left behind")

    await run(*[leave] * 5)
    assert seen == ["unset"] * 5


async def test_context_variables_left_behind_are_not_seen_by_a_successor_either() -> None:
    seen = []

    async def leave() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("left behind")
        await asyncio.sleep(0)

    items = [Item(leave) for _ in range(4)]

    async def end(item: Item) -> None:
        await execute(item)
        if later := items[items.index(item) + 1 :]:
            runners.succeed(later[0])

    runners: Runners[Item] = Runners(each(end))
    runners.start([items[0]])
    await all_done(items)
    assert seen == ["unset"] * 4


@pytest.mark.parametrize("waits", [True, False], ids=["they wait", "they do not"])
async def test_many_may_follow_one_another_in_a_slot(waits: bool) -> None:
    """None begins within the steps of all those before it."""
    body = wait_once if waits else at_once
    items = [Item(body) for _ in range(3000)]

    async def end(item: Item) -> None:
        await execute(item)
        if later := items[items.index(item) + 1 : items.index(item) + 2]:
            runners.succeed(later[0])

    runners: Runners[Item] = Runners(each(end))
    beside = [Item(wait_once), Item(wait_once)]  # so that attempts count as waiting
    items[:0] = beside
    runners.start([beside[0]])
    await all_done(items)
    assert all(item.ran_in is item.task for item in items)
    if waits:
        assert len({item.task for item in items}) == len(items)


async def test_a_successor_begins_before_others_end_in_the_same_turn_from_python_3_12_on() -> None:
    order, go_on = list[str](), asyncio.Event()

    async def first() -> None:
        await go_on.wait()
        order.append("ended")

    async def second() -> None:
        order.append("begun")
        await asyncio.sleep(0)

    pairs = [(Item(first), Item(second)) for _ in range(3)]
    after = dict(pairs)

    async def end(item: Item) -> None:
        await execute(item)
        if item in after:
            runners.succeed(after[item])

    runners: Runners[Item] = Runners(each(end))
    for item, _ in pairs:
        runners.start([item])
    for _ in range(3):
        await asyncio.sleep(0)
    go_on.set()
    await all_done([later for _, later in pairs])
    at_once = sys.version_info >= (3, 12)
    assert order == (["ended", "begun"] * 3 if at_once else ["ended"] * 3 + ["begun"] * 3)


async def test_a_cancelled_attempt_takes_nobody_with_it() -> None:
    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def whole() -> None:
        await asyncio.sleep(0)
        whole_ended.append(1)

    whole_ended: list[int] = []
    await run(cancelled, whole, cancelled, whole)
    assert whole_ended == [1, 1]


async def test_what_is_started_by_one_that_ends_runs_too() -> None:
    runners: Runners[Item] = Runners(each(execute))
    chain = [Item(at_once)]

    async def start_next() -> None:
        if len(chain) < 1000:
            chain.append(Item(start_next))
            runners.start([chain[-1]])

    chain[0].body = start_next
    runners.start([chain[0]])
    await all_done(chain)
    assert len(chain) == 1000


async def test_the_loop_gets_its_turn_between_attempts_that_never_wait() -> None:
    turns = []

    async def block() -> None:
        time.sleep(0.003)  # noqa: ASYNC251 - as some jobs do
        asyncio.get_running_loop().call_soon(turns.append, 1)
        seen.append(len(turns))

    seen: list[int] = []
    await run(*[block] * 20)
    assert seen[-1] > 0
