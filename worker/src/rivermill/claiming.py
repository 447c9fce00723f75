"""Knows whether a claim is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Claiming(asyncio.Lock):
    """Held while a claim is in flight."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Callable[[], None]] = []

    def call_after(self, call: Callable[[], None]) -> None:
        """Call when no claim is in flight: now or right after one, in the order in which it was asked for."""
        self._calls.append(call)
        if not self.locked():
            self._settle()

    def release(self) -> None:
        """The claim has ended."""
        super().release()
        self._settle()

    def _settle(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()
