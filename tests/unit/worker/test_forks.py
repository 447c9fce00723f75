"""Signals and the processes that are forked from one with an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest
import uvloop

from rivermill.forks import part_children

Loops = Callable[[], asyncio.AbstractEventLoop]


def child() -> int:
    """Fork a process that sleeps, as a job in a thread does it; its id."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, b".")
            time.sleep(60)
        finally:
            os._exit(3)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return pid


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_a_forked_process_ends_it_and_is_not_its_parents(loops: Loops, number: signal.Signals) -> None:
    async def main() -> int:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(number, heard.set)
        part_children()
        pid = await asyncio.to_thread(child)
        os.kill(pid, number)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        await asyncio.sleep(0)
        assert not heard.is_set()
        os.kill(os.getpid(), number)
        await heard.wait()  # the parent hears its own as before
        loop.remove_signal_handler(number)
        return os.waitstatus_to_exitcode(status)

    with asyncio.Runner(loop_factory=loops) as runner:
        assert runner.run(main()) == (3 if number is signal.SIGINT else -number)


def test_a_handler_of_the_applications_own_is_kept() -> None:
    def own(number: int, frame: object) -> None:
        os._exit(7)

    part_children()
    before = signal.signal(signal.SIGTERM, own)
    try:
        pid = child()
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    finally:
        signal.signal(signal.SIGTERM, before)
