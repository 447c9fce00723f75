"""The scale-in window: what was asked for lately, and what was there when the looks began, holds the fleet up."""

from __future__ import annotations

import math
from dataclasses import replace

from rivermill_operator.model.observed import Unknown
from rivermill_operator.model.spec import JobQueueSpec
from rivermill_operator.plan.memory import ScalingMemory

SHORT_WINDOW_SECONDS = 60.0
LONG_WINDOW_SECONDS = 300.0
#: What bursts and backlogs asked for is kept no longer where pods come back in time: there are many of them, and they cost.
PEAK_WINDOW_SECONDS = 30.0
#: Never shorter, or pods that start would be cancelled.
WINDOW_STARTS = 1.5


def seconds(spec: JobQueueSpec, pod_start: float, short: float = SHORT_WINDOW_SECONDS) -> float:
    """Seconds over which the highest recommendation counts.

    Args:
        spec: its own choice counts before all.
        pod_start: seconds until a pod could come back.
        short: where that is within the goal.
    """
    chosen = spec.scaling.scale_in.window_seconds
    if chosen is not None:
        return chosen
    goal = min(queue.target_wait_seconds for queue in spec.queues)
    return max(short if pod_start <= goal else LONG_WINDOW_SECONDS, WINDOW_STARTS * pod_start)


def begin(memory: ScalingMemory, now: float, current: int) -> ScalingMemory:
    """Remember the replicas that are there when the looks begin."""
    return memory if memory.began is not None else replace(memory, began=(now, current))


def blind(memory: ScalingMemory, unknown: Unknown, window: float) -> ScalingMemory:
    """After an outage as long as the window, in which all that was recommended is over, the window begins anew."""
    return replace(memory, began=None) if unknown.since_seconds >= window else memory


def remember(memory: ScalingMemory, now: float, calm: tuple[int, float], peak: tuple[int, float]) -> ScalingMemory:
    """Add what is recommended now.

    Args:
        memory: what was recommended before.
        now: monotonic seconds.
        calm: replicas that steady streams and long jobs ask for, and their window in seconds.
        peak: the same with what bursts and backlogs ask for.
    """
    return replace(memory, recommendations=_add(memory.recommendations, now, *calm), peaks=_add(memory.peaks, now, *peak))


def standing(memory: ScalingMemory, now: float, window: float, peak_window: float) -> list[tuple[float, int]]:
    """Until when scale-in leaves so many pods, by each thing that is remembered.

    When nothing has come for a window, a stream has ended, and what was recommended for it is forgotten.
    """
    forgotten = math.inf if memory.idle is None else memory.idle[0] + window
    began = [memory.began] if memory.began is not None and now - memory.began[0] < window else []
    return [
        *((at + window, replicas) for at, replicas in began),
        *((min(at + window, forgotten), replicas) for at, replicas in memory.recommendations),
        *((min(at + peak_window, forgotten), replicas) for at, replicas in memory.peaks),
    ]


def _add(history: tuple[tuple[float, int], ...], now: float, replicas: int, window: float) -> tuple[tuple[float, int], ...]:
    """Add a recommendation, and drop those that a later one covers or that are older than the window."""
    history = (*((at, n) for at, n in history if now - window < at <= now), (now, replicas))
    kept: list[tuple[float, int]] = []
    for at, wanted in history:
        while kept and kept[-1][1] <= wanted:
            kept.pop()
        kept.append((at, wanted))
    return tuple(kept)
