"""Watches from another thread whether the main event loop answers, and says what keeps it from that."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from prometheus_client import Gauge

#: Pause before the next question, and between two looks for its answer.
_PAUSE_SECONDS, _LOOK_SECONDS = 0.25, 0.05
#: A loop that has not answered for so long is blocked: one that is blocked for a second is told, whenever that begins.
_BLOCKED_SECONDS = 0.7
#: Of the stack, the innermost frames.
_FRAMES = 8

logger = logging.getLogger("rivermill.notify")


async def watch_loop(
    loop: asyncio.AbstractEventLoop, thread: int, lag: Gauge, working: Callable[[], Sequence[tuple[int, str]]]
) -> None:
    """Measure how long a loop takes to answer, and say so when it is blocked; runs until it is cancelled.

    Args:
        loop: the loop, which is not the one that this runs in.
        thread: the identifier of its thread.
        lag: set to the seconds that the loop last took, or has not answered for.
        working: id and kind of the jobs whose own tasks the loop is in; called here, while it is blocked.
    """
    while not loop.is_closed():
        answers: list[float] = []
        asked = time.monotonic()
        loop.call_soon_threadsafe(_answer, answers)
        told = False
        await asyncio.sleep(_PAUSE_SECONDS)
        while not answers:
            silent = time.monotonic() - asked
            lag.set(silent)
            if silent > _BLOCKED_SECONDS and not told:
                told = True
                _tell(thread, working())
            await asyncio.sleep(_LOOK_SECONDS)
        lag.set(answers[0] - asked)


def _answer(answers: list[float]) -> None:
    answers.append(time.monotonic())


def _tell(thread: int, jobs: Sequence[tuple[int, str]]) -> None:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, for just this
    stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
    named = ", ".join(f"job {job_id} of kind {kind}" for job_id, kind in jobs)
    # A task that a job has made of its own is not known to be the job's.
    where = f"by {named}, which may wait or compute in an async function" if named else "not within the own task of any job"
    logger.warning("the event loop is blocked, %(where)s:\n%(stack)s", {"where": where, "stack": stack})
