"""When a benchmark ends before its jobs do: at a signal, or when its time is up."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Ending:
    """What a benchmark looks at between two steps, and waits on.

    Args:
        seconds: how long it runs once its clock has started; None for as long as it takes.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._until = float("inf")
        self._asked = asyncio.Event()

    def start_clock(self) -> None:
        """The time begins now: jobs that are inserted before do not count."""
        if self._seconds is not None:
            self._until = time.monotonic() + self._seconds

    def ask(self) -> None:
        """End soon."""
        self._asked.set()

    @property
    def reached(self) -> bool:
        """Whether it is to end now."""
        return self._asked.is_set() or time.monotonic() >= self._until

    async def wait(self, seconds: float = float("inf")) -> None:
        """Wait until the end, but at most so many seconds; none are a turn of the loop."""
        seconds = min(seconds, self._until - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else max(0.0, seconds)):
                await self._asked.wait()

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """End at SIGINT and SIGTERM while the block runs; the second cancels its task, a third is as without this."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        numbers = (signal.SIGINT, signal.SIGTERM)

        def on_signal() -> None:
            if self._asked.is_set():
                task.cancel()
                for number in numbers:
                    loop.remove_signal_handler(number)
            self.ask()

        for number in numbers:
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
