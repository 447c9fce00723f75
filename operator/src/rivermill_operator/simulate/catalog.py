"""The reference workloads: seeded, drawn with the standard library, nothing downloaded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from rivermill_operator.simulate.workload import PodStart, QueueSettings, Workload, make_trace

Draw = Callable[[random.Random], float]
Row = tuple[float, float, int, int, float]
_HOUR = 3600.0


def poisson(rng: random.Random, rate: Callable[[float], float], highest: float, until: float) -> Iterator[float]:
    """Times of a Poisson process of changing rate (jobs/s), by thinning one of rate ``highest``."""
    now = rng.expovariate(highest)
    while now < until:
        if rng.random() * highest < rate(now):
            yield now
        now += rng.expovariate(highest)


def exponential(mean: float) -> Draw:
    """Durations in seconds."""
    return lambda rng: rng.expovariate(1 / mean)


def lognormal(mu: float, sigma: float, low: float = 0.0, high: float = math.inf) -> Draw:
    """Durations in seconds, clipped."""
    return lambda rng: min(high, max(low, rng.lognormvariate(mu, sigma)))


def _build(name: str, seed: int, goal: float, until: float, arrivals: Arrivals, seconds: Draw, *, slots: int = 10) -> Workload:
    rng = _random(name, seed)
    rows: list[Row] = [(due, seconds(rng), 0, 1, due) for due in arrivals(rng)]
    return Workload(name, (QueueSettings("default", goal, slots),), slots, make_trace(rows), until)


Arrivals = Callable[[random.Random], Iterator[float]]


def _random(name: str, seed: int) -> random.Random:
    # Names once had spaces; what was drawn with them, and so every published figure, is drawn still.
    return random.Random(f"{name.replace('-', ' ')} {seed}")


def _at(rate: Callable[[float], float], highest: float, until: float) -> Arrivals:
    return lambda rng: poisson(rng, rate, highest, until)


def _steady(name: str, seed: int, goal: float, until: float = _HOUR, rate: float = 20) -> Workload:
    return _build(name, seed, goal, until, _at(lambda _: rate, rate, until), exponential(1))


def _long_jobs() -> Draw:
    return lognormal(math.log(300), 0.8, 20, 3600)


def _batches(rng: random.Random) -> Iterator[float]:
    for start in poisson(rng, lambda _: 1 / 60, 1 / 60, 2 * _HOUR - 2):
        for _ in range(min(5000, int(rng.paretovariate(1.2) * 20))):
            yield start + rng.uniform(0, 2)


def _mmpp(rng: random.Random) -> Iterator[float]:
    now, fast = 0.0, False
    while now < 2 * _HOUR:
        end = min(2 * _HOUR, now + rng.expovariate(1 / (60 if fast else 300)))
        rate = 50.0 if fast else 5.0
        begin, length = now, end - now
        yield from (begin + at for at in poisson(rng, lambda _, r=rate: r, rate, length))  # type: ignore[misc]
        now, fast = end, not fast


def _noise(rng: random.Random) -> Iterator[float]:
    levels = [20 * (1 + rng.uniform(-0.1, 0.1)) for _ in range(120)]
    return poisson(rng, lambda t: levels[int(t // 60)], 22, 2 * _HOUR)


def _drift(name: str, seed: int) -> Workload:
    base = _steady(name, seed, 10, 2 * _HOUR)
    trace = base.trace
    seconds = [s * 2 ** (int(due // 1200) % 3) for due, s in zip(trace.due, trace.seconds, strict=True)]
    return replace(base, trace=replace(trace, seconds=seconds))


def _scheduled(name: str, seed: int) -> Workload:
    rng = _random(name, seed)
    rows = [(hour * _HOUR, rng.expovariate(1), 0, 1, hour * _HOUR - 1800) for hour in (1, 2) for _ in range(5000)]
    return Workload(name, (QueueSettings("default", 15, 10),), 10, make_trace(rows), 2.5 * _HOUR)


def _neighbours(name: str, seed: int) -> Workload:
    rng = _random(name, seed)
    queues = (QueueSettings("urgent", 5, 10, 6), QueueSettings("normal", 60, 10, 3), QueueSettings("bulk", 600, 10, 1))
    rows: list[Row] = [(t, rng.expovariate(1), 0, 1, t) for t in poisson(rng, lambda _: 10, 10, 2 * _HOUR)]
    rows += [(t, rng.expovariate(0.5), 1, 1, t) for t in poisson(rng, lambda t: 40 if t % 1800 < 300 else 5, 40, 2 * _HOUR)]  # noqa: PLR2004
    dumps = (begin + rng.uniform(0, 5) for begin in (900, 2700, 4500) for _ in range(10_000))
    rows += [(t, rng.expovariate(0.5), 2, 1, t) for t in dumps]
    return Workload(name, queues, 10, make_trace(rows), 2 * _HOUR, max_replicas=12)


def _bimodal(rng: random.Random) -> float:
    return 120.0 if rng.random() < 0.05 else 0.2  # noqa: PLR2004 - the workload's definition


def _diurnal(t: float) -> float:
    return 20 * (1 - 0.9 * math.cos(2 * math.pi * t / (4 * _HOUR)))


_WORKLOADS: dict[str, Callable[[str, int], Workload]] = {
    "steady": lambda n, s: _steady(n, s, 5),
    "step": lambda n, s: _build(n, s, 10, 5400, _at(lambda t: 40 if 1200 <= t < 3600 else 10, 40, 5400), exponential(1)),  # noqa: PLR2004
    "flash": lambda n, s: _build(n, s, 30, _HOUR, _at(lambda t: 200 if 1200 <= t < 1500 else 10, 200, _HOUR), exponential(1)),  # noqa: PLR2004
    "ramp": lambda n, s: _build(n, s, 10, 1200, _at(lambda t: 1 + 199 * t / 600 if t < 600 else 1, 200, 1200), exponential(1)),  # noqa: PLR2004
    "dump": lambda n, s: _build(n, s, 120, _HOUR, lambda rng: (600 + rng.uniform(0, 5) for _ in range(20_000)), exponential(2)),
    "onoff": lambda n, s: _build(n, s, 30, 2 * _HOUR, _at(lambda t: 30 if t % 900 < 120 else 0, 30, 2 * _HOUR), exponential(1)),  # noqa: PLR2004
    "trickle": lambda n, s: _build(n, s, 30, 6 * _HOUR, _at(lambda _: 1 / 120, 1 / 120, 6 * _HOUR), exponential(5)),
    "diurnal": lambda n, s: _build(n, s, 10, 4 * _HOUR, _at(_diurnal, 38, 4 * _HOUR), lognormal(-0.5, 1)),
    "long": lambda n, s: _build(
        n,
        s,
        60,
        6 * _HOUR,
        _at(lambda t: 0.05 if t % 7200 < 3600 else 0.005, 0.05, 6 * _HOUR),  # noqa: PLR2004
        _long_jobs(),
        slots=1,
    ),
    "heavytail": lambda n, s: _build(n, s, 30, 2 * _HOUR, _batches, lognormal(-0.38, 2, 0.01, 300)),
    "bimodal": lambda n, s: _build(n, s, 20, _HOUR, _at(lambda _: 5, 5, _HOUR), _bimodal),
    "drift": _drift,
    "retry-storm": lambda n, s: replace(_steady(n, s, 30, 5400), failing=((600.0, 1200.0),)),
    "scheduled": _scheduled,
    "mmpp": lambda n, s: _build(n, s, 10, 2 * _HOUR, _mmpp, exponential(1)),
    "outage": lambda n, s: replace(_steady(n, s, 5), blind=((600.0, 900.0),)),
    "rollout": lambda n, s: replace(
        _build(n, s, 60, 2 * _HOUR, _at(lambda _: 0.05, 0.05, 2 * _HOUR), _long_jobs(), slots=1), rollout_at=1800.0
    ),
    "noisy-neighbours": _neighbours,
}
NAMES = tuple(_WORKLOADS)

POD_STARTS = {"warm": PodStart(), "nodes": PodStart(45, 90), "faulty": PodStart(never=0.02)}


def workload(name: str, seed: int, pods: str = "warm") -> Workload:
    """A reference workload.

    Args:
        name: one of ``NAMES``, or ``noise``: a steady stream whose rate changes by up to 10 % every minute.
        seed: of everything drawn.
        pods: how pods start, one of ``POD_STARTS``.
    """
    start = POD_STARTS[pods]
    if name == "noise":
        return replace(_build(name, seed, 10, 2 * _HOUR, _noise, exponential(1)), pod_start=start)
    return replace(_WORKLOADS[name](name, seed), pod_start=start)


__all__ = ["NAMES", "POD_STARTS", "poisson", "workload"]
