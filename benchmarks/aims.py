"""``python -m benchmarks.aims``: every aim for the speed, its figure and whether it is met, from ``build/bench.json``.

Ratios are made round by round within one table. Where several setups of a side stand for it, the one with the best median does.
Some lines have no bar: they say what a bar that is a number does not, or how far it can be met.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report import Run, cases_of, read, scaled
from benchmarks.rounds import ratios, spread
from benchmarks.table import line, shown_spread

Setups = Mapping[str, dict[str, Any]]
_NO_OP, _TUNED, _SLEEPING = "drain of no-op jobs", "drain of no-op jobs, tables tuned", "drain of jobs of 10 ms"
_MANY, _IDLE = "insert 1,000 at once, with ids", "insert to start, idle, 100 a second"
_COPY, _MEMORY = "insert 1,000 at once, by COPY", "memory over 2 M jobs"
_DEFAULTS = "all defaults"
_WITHOUT_GIN = "only GIN indexes dropped"
_PEERS = ("pgqueuer", "chancy", "oban", "procrastinate", "awa")


_COMMAND = "rivermill work"

#: The figure or ratio of a case with median, least and most, and what it is of; None where it was not measured.
Measure = Callable[[dict[str, Any]], tuple[dict[str, float], str] | None]


@dataclass(frozen=True)
class Aim:
    """A bar, and what it is held against.

    Attributes:
        what: in words.
        case: the table that has the figures.
        bar: the least that will do; the most where ``at_most``; None where a line only tells a figure.
        measure: makes the figure.
        at_most: whether less is better.
        held: which of median, least and most is held against the bar.
    """

    what: str
    case: str
    bar: float | None
    measure: Measure
    at_most: bool = False
    held: str = "median"

    def met(self, figure: Mapping[str, float]) -> str:
        """Whether the figure is within the bar, in words."""
        if self.bar is None:
            return "-"
        value = figure[self.held]
        return "yes" if (value <= self.bar if self.at_most else value >= self.bar) else "**no**"

    def shown_bar(self) -> str:
        """The bar, in words."""
        return "-" if self.bar is None else f"{'≤' if self.at_most else '≥'} {self.bar:g}"


def best(
    case: dict[str, Any], systems: Sequence[str], settings: str = "", but: str = "\0"
) -> tuple[str, dict[str, Any]] | None:
    """The setup with the best median of some systems.

    Args:
        case: as the report has it.
        systems: their names.
        settings: what must be in the settings.
        but: what must not be in them.
    """
    there = [
        (label, setup)
        for label, setup in case["setups"].items()
        if setup["system"] in systems and settings in setup["settings"] and but not in setup["settings"]
    ]
    sign = -1 if case["lower"] else 1
    return max(there, key=lambda one: sign * one[1]["figures"][case["figure"]]["median"], default=None)


def _against(
    *systems: str, settings: str = "", own_settings: str = "", but: str = "\0", ours: str = "rivermill", figure: str = ""
) -> Measure:
    """How many times better ours is, by a figure that may be another than the one by which the best setups are chosen."""

    def measured(case: dict[str, Any]) -> tuple[dict[str, float], str] | None:
        sides = [best(case, [ours], own_settings or settings, but), best(case, systems, settings, but)]
        name = figure or case["figure"]
        both = [(label, setup) for label, setup in filter(None, sides) if name in setup["by_round"]]
        if len(both) < len(sides):
            return None
        found = spread(ratios(*(setup["by_round"][name] for _, setup in both), lower=case["lower"]))
        medians = [f"{label}: {_number(setup['figures'][name]['median'])}" for label, setup in both]
        return None if found is None else (found, "; ".join(medians))

    return measured


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figure(name: str, settings: str = "", of: float = 1.0) -> Measure:
    def measured(case: dict[str, Any]) -> tuple[dict[str, float], str] | None:
        ours = best(case, ["rivermill"], settings)
        if ours is None or name not in ours[1]["figures"]:
            return None
        figure: dict[str, float] = ours[1]["figures"][name]
        return {which: value / of for which, value in figure.items()}, ours[0]

    return measured


AIMS = (
    Aim("no-op drain: times River for Go tuned", _NO_OP, 1.25, _against("river", but=_DEFAULTS)),
    Aim("no-op drain: of the statements alone", _NO_OP, 0.85, _against("statements alone")),
    Aim("no-op drain, River's table as it is: times the fastest Python peer", _NO_OP, 2.5, _against(*_PEERS)),
    Aim(
        "the statements alone, River's table as it is: times the fastest Python peer",
        _NO_OP,
        None,
        _against(*_PEERS, ours="statements alone"),
    ),
    Aim("no-op drain, tables tuned: times River for Go tuned", _TUNED, 1.25, _against("river", but=_WITHOUT_GIN)),
    Aim("no-op drain, tables tuned: of the statements alone", _TUNED, 0.85, _against("statements alone", but=_WITHOUT_GIN)),
    Aim("no-op drain, tables tuned: times the fastest Python peer", _TUNED, 2.5, _against(*_PEERS, but=_WITHOUT_GIN)),
    Aim("no-op drain, GIN indexes dropped: times River for Go tuned", _TUNED, 1.25, _against("river", settings=_WITHOUT_GIN)),
    Aim(
        "no-op drain, GIN indexes dropped: of the statements alone",
        _TUNED,
        0.85,
        _against("statements alone", settings=_WITHOUT_GIN),
    ),
    Aim(
        "no-op drain, GIN indexes dropped: times the fastest Python peer",
        _TUNED,
        2.5,
        _against(*_PEERS, own_settings=_WITHOUT_GIN),
    ),
    Aim("no-op drain, defaults on both sides: times River for Go", _NO_OP, 20.0, _against("river", settings=_DEFAULTS)),
    Aim("jobs of 10 ms, 100 slots: jobs/s of 10,000", _SLEEPING, 0.95, _figure("per_second", of=10_000.0)),
    Aim("insert_many: times River's InsertMany", _MANY, 0.9, _against("river")),
    Aim("insert_many_fast: times River's COPY", _COPY, 0.8, _against("river")),
    Aim("insert one by one: times River's", "insert one by one", 1.0, _against("river")),
    Aim("idle, insert to start, p50 ms", _IDLE, 3.0, _figure("call_p50_ms"), at_most=True),
    Aim("idle, insert to start, p99 ms", _IDLE, 8.0, _figure("call_p99_ms"), at_most=True),
    Aim("idle, insert to start, p50: times better than River's", _IDLE, None, _against("river")),
    Aim("idle, insert to start, p99: times better than River's", _IDLE, None, _against("river", figure="call_p99_ms")),
    Aim(
        "resident MB with 100 slots, the most of any round",
        _NO_OP,
        80.0,
        _figure("rss_mb", _COMMAND),
        at_most=True,
        held="most",
    ),
    Aim(
        "connections with 100 slots, the most of any round",
        _NO_OP,
        3.0,
        _figure("connections", _COMMAND),
        at_most=True,
        held="most",
    ),
    Aim("growth of memory over 2 M jobs, MB", _MEMORY, 1.0, _figure("growth_mb"), at_most=True),
)


def table(runs: Sequence[Run]) -> str:
    """All aims in Markdown, each from the last run that can tell it."""
    heads = ["aim", "bar", "measured", "of", "rounds", "met", "run"]
    return "\n".join([line(heads), line(["---"] * len(heads)), *(_line(aim, runs) for aim in AIMS)]) + "\n"


def _line(aim: Aim, runs: Sequence[Run]) -> str:
    for name, run, case in reversed([*cases_of(sorted(runs, key=lambda run: run["started"]))]):
        found = aim.measure(case) if name == aim.case else None
        if found is not None:
            figure, of = found
            # As many digits as tell it from the bar.
            digits = 3 if round(figure[aim.held], 2) == aim.bar != round(figure[aim.held], 3) else 2
            when = f"{run['started'][:16].replace('T', ' ')}, {run['commit']}"
            shown = shown_spread(figure, digits)
            return line([aim.what, aim.shown_bar(), shown, of, str(run["rounds"]), aim.met(figure), when])
    return line([aim.what, aim.shown_bar(), "-", "-", "-", "not measured", "-"])


if __name__ == "__main__":
    sys.stdout.write(table([run for run in read() if not scaled(run)]))
