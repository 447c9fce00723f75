"""Answers of the API server that many ``JobQueue``s ask for: one request serves whoever asks while it is under way or fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rivermill_operator.kube.port import KubeError

ANSWER_SECONDS = 5.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[_Answer]):
    at: float
    answer: asyncio.Task[_Answer]


class Shared(Generic[_Answer]):
    """Asks for objects by their path.

    Args:
        ask: makes the request; may raise ``KubeError``.
        seconds: an answer counts so long.
        failed_seconds: an error counts so long.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        ask: Callable[[str], Awaitable[_Answer]],
        seconds: float,
        failed_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._failed_seconds = failed_seconds
        self._clock = clock
        self._asked: dict[str, _Asked[_Answer]] = {}

    async def get(self, path: str, *, within: float | None = None) -> _Answer:
        """What is at a path, at most ``seconds`` old, or ``within`` seconds for who doubts the last answer.

        Raises:
            KubeError: the API server refused the request or did not answer.
        """
        known = self._asked.get(path)
        if known is None or not self._counts(known, within):
            now = self._clock()
            self._asked = {old: asked for old, asked in self._asked.items() if now - asked.at < 2 * self._seconds}
            answer = asyncio.create_task(self._in_time(path), name=f"GET {path}")
            # An error that nobody waits for any more is nobody's.
            answer.add_done_callback(lambda task: task.cancelled() or task.exception())
            known = self._asked[path] = _Asked(now, answer)
        return await asyncio.shield(known.answer)

    def _counts(self, asked: _Asked[_Answer], within: float | None) -> bool:
        answer = asked.answer
        if not answer.done():
            return True
        failed = answer.cancelled() or answer.exception() is not None
        usual = self._failed_seconds if failed else self._seconds
        return self._clock() - asked.at < (usual if within is None else within)

    async def _in_time(self, path: str) -> _Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(path)
        except TimeoutError:
            raise KubeError(0, f"GET {path}: no answer within {ANSWER_SECONDS:g} s") from None
