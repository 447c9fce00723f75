"""Counts and histograms for what happens once a job: an addition or a bisection each, put into Prometheus' form when scraped.

``prometheus_client``'s own take a lock and a look-up for every value, which together cost more than executing a job does.
These are written on the main loop only; a scrape on another thread may see a job that is counted but not yet in a sum.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally:
    """One number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        """Add to it."""
        self.value += by


class Spread:
    """One histogram.

    Args:
        bounds: upper bounds of the buckets, rising; a last one without a bound is added.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count several values."""
        if len(values) == 1:
            self.observe(values[0])
            return
        ordered, below = sorted(values), 0
        for place, bound in enumerate(self._bounds):
            up_to = bisect_right(ordered, bound, below)
            self.counts[place] += up_to - below
            below = up_to
        self.counts[-1] += len(ordered) - below
        self.total += sum(ordered)


class Tallies(Collector):
    """A counter with labels.

    Args:
        name: without the ``_total`` that Prometheus adds.
        help_text: what is counted.
        labels: names of the labels.
        registry: where it is scraped.
    """

    def __init__(self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._help, self._names = name, help_text, labels
        self._children: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        """The number for these label values; worth keeping by whoever counts often."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = Tally()
        return child

    def total(self, label: str, value: str) -> int:
        """The sum of all numbers whose label has this value."""
        place = self._names.index(label)
        return sum(child.value for values, child in self._children.items() if values[place] == value)

    def collect(self) -> Iterator[Metric]:
        """In Prometheus' form."""
        family = CounterMetricFamily(self._name, self._help, labels=self._names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class Spreads(Collector):
    """A histogram with labels.

    Args:
        name: of the metric.
        help_text: what is measured.
        labels: names of the labels.
        bounds: upper bounds of the buckets.
        registry: where it is scraped.
    """

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._help, self._names, self._bounds = name, help_text, labels, tuple(bounds)
        self._children: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        """The histogram for these label values; worth keeping by whoever measures often."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = Spread(self._bounds)
        return child

    def collect(self) -> Iterator[Metric]:
        """In Prometheus' form: cumulative counts."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._names)
        for values, child in list(self._children.items()):
            buckets, seen = [], 0
            for bound, count in zip((*self._bounds, inf), list(child.counts), strict=True):
                seen += count
                buckets.append(("+Inf" if bound == inf else str(float(bound)), float(seen)))
            family.add_metric(values, buckets, sum_value=child.total)
        yield family
