"""The HorizontalPodAutoscaler's arithmetic for one external metric of type ``AverageValue``.

After ``pkg/controller/podautoscaler`` of Kubernetes 1.37; a pure state machine of its own recommendations and scale events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SYNC_SECONDS = 15.0
TOLERANCE = 0.1
DOWN_WINDOW = 300.0


@dataclass(frozen=True, slots=True)
class Rate:
    """One scaling policy: ``value`` pods, or per cent of the replicas, per ``period`` seconds."""

    value: float
    period: float = 15.0
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Behavior:
    """``spec.behavior`` with Kubernetes' defaults for what is not set; several policies count by the most change."""

    up_window: float = 0.0
    up: tuple[Rate, ...] = (Rate(4), Rate(100, percent=True))
    down_window: float = DOWN_WINDOW
    down: tuple[Rate, ...] = (Rate(100, percent=True),)


class Hpa:
    """One HPA.

    Args:
        target: ``averageValue``.
        minimum, maximum: replicas.
        behavior: None when ``spec.behavior`` is not set, which is another rule than its defaults.
        tolerance: share of the target within which nothing is done.
    """

    def __init__(
        self, target: float, minimum: int, maximum: int, behavior: Behavior | None = None, tolerance: float = TOLERANCE
    ) -> None:
        self._target = target
        self._min = minimum
        self._max = maximum
        self._behavior = behavior
        self._tolerance = tolerance
        self._recommendations: list[tuple[float, int]] = []
        self._ups: list[tuple[float, int]] = []
        self._downs: list[tuple[float, int]] = []

    def sync(self, now: float, spec: int, status: int, metric: float | None) -> int:
        """Replicas to write; ``spec`` when nothing is to be written.

        Args:
            now: seconds.
            spec: ``spec.replicas`` of the target.
            status: ``status.replicas``: pods that are not being deleted, Ready or not.
            metric: the sum of the metric; None when it could not be read.
        """
        if spec == 0:
            return 0  # ScalingDisabled
        if spec > self._max:
            desired = self._max
        elif spec < self._min:
            desired = self._min
        elif metric is None:
            return spec
        else:
            proposal = self.propose(metric, status)
            if not self._recommendations:
                self._recommendations.append((now, spec))
            rule = self._plain if self._behavior is None else self._limited
            desired = rule(now, spec, proposal)
        if desired > spec:
            self._ups.append((now, desired - spec))
        elif desired < spec:
            self._downs.append((now, spec - desired))
        return desired

    def propose(self, metric: float, status: int) -> int:
        """Replicas by the metric alone: ``status`` within the tolerance."""
        if status and abs(1.0 - metric / (self._target * status)) <= self._tolerance:
            return status
        return math.ceil(metric / self._target)

    def _plain(self, now: float, spec: int, proposal: int) -> int:
        """Without ``behavior``: the highest of five minutes, at most doubled (but 4 at once)."""
        self._remember(now, proposal, DOWN_WINDOW)
        stabilized = max(replicas for _, replicas in self._recommendations)
        return max(self._min, min(stabilized, max(2 * spec, 4), self._max))

    def _limited(self, now: float, spec: int, proposal: int) -> int:
        behavior = self._behavior
        assert behavior is not None
        up = min([proposal, *self._within(now, behavior.up_window)])
        down = max([proposal, *self._within(now, behavior.down_window)])
        self._remember(now, proposal, max(behavior.up_window, behavior.down_window))
        stabilized = min(max(spec, up), down)
        if stabilized > spec:
            limit = max(self._period_start(now, spec, rate, up=True) for rate in behavior.up) if behavior.up else spec
            return max(self._min, min(stabilized, max(limit, spec), self._max))
        if stabilized < spec:
            limit = min(self._period_start(now, spec, rate, up=False) for rate in behavior.down) if behavior.down else spec
            return max(stabilized, min(limit, spec), self._min)
        return spec

    def _within(self, now: float, window: float) -> list[int]:
        return [replicas for at, replicas in self._recommendations if at > now - window]

    def _remember(self, now: float, proposal: int, window: float) -> None:
        kept = [(at, replicas) for at, replicas in self._recommendations if at > now - window]
        self._recommendations = [*kept, (now, proposal)]

    def _period_start(self, now: float, spec: int, rate: Rate, *, up: bool) -> int:
        """The furthest that one policy allows, counted from the replicas at the start of its period."""
        added = sum(change for at, change in self._ups if at > now - rate.period)
        removed = sum(change for at, change in self._downs if at > now - rate.period)
        start = spec - added + removed
        if not up:
            return int(start * (1 - rate.value / 100)) if rate.percent else start - int(rate.value)
        return math.ceil(start * (1 + rate.value / 100)) if rate.percent else start + int(rate.value)
