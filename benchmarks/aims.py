"""``python -m benchmarks.aims``: every aim for the speed, its figure and whether it is met, from ``build/bench.json``.

Ratios are made round by round within one table. Where several setups of a side stand for it, the one with the best median does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report import Run, cases_of, read
from benchmarks.rounds import ratios, spread
from benchmarks.table import line, shown_spread

Setups = Mapping[str, dict[str, Any]]
_NO_OP, _TUNED, _SLEEPING = "drain of no-op jobs", "drain of no-op jobs, tables tuned", "drain of jobs of 10 ms"
_MANY, _IDLE = "insert 1,000 at once, with ids", "insert to start, idle, 100 a second"
_COPY, _MEMORY = "insert 1,000 at once, by COPY", "memory over 2 M jobs"
_DEFAULTS = "all defaults"
_PEERS = ("pgqueuer", "chancy", "oban", "procrastinate", "awa")


@dataclass(frozen=True)
class Aim:
    """A bar, and what it is held against.

    Attributes:
        what: in words.
        case: the table that has the figures.
        bar: the least that will do; the most where ``at_most``.
        measure: the figure or ratio of a case with median, least and most, and what it is of; None where it was not measured.
    """

    what: str
    case: str
    bar: float
    measure: Callable[[dict[str, Any]], tuple[dict[str, float], str] | None]
    at_most: bool = False

    def met(self, figure: Mapping[str, float]) -> bool:
        """Whether the median is within the bar."""
        return figure["median"] <= self.bar if self.at_most else figure["median"] >= self.bar


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
    *systems: str, settings: str = "", but: str = "\0"
) -> Callable[[dict[str, Any]], tuple[dict[str, float], str] | None]:
    def measured(case: dict[str, Any]) -> tuple[dict[str, float], str] | None:
        ours, other = best(case, ["rivermill"], settings, but), best(case, systems, settings, but)
        if ours is None or other is None:
            return None
        found = spread(ratios(ours[1]["by_round"], other[1]["by_round"], lower=case["lower"]))
        medians = [f"{label}: {setup['figures'][case['figure']]['median']:,.0f}" for label, setup in (ours, other)]
        return None if found is None else (found, "; ".join(medians))

    return measured


def _figure(name: str, settings: str = "", of: float = 1.0) -> Callable[[dict[str, Any]], tuple[dict[str, float], str] | None]:
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
    Aim("no-op drain without GIN indexes: of the statements alone", _TUNED, 0.85, _against("statements alone")),
    Aim("no-op drain, River's table as it is: times the fastest Python peer", _NO_OP, 2.5, _against(*_PEERS)),
    Aim("no-op drain, each tuned: times the fastest Python peer", _TUNED, 2.5, _against(*_PEERS)),
    Aim("no-op drain, defaults on both sides: times River for Go", _NO_OP, 20.0, _against("river", settings=_DEFAULTS)),
    Aim("jobs of 10 ms, 100 slots: jobs/s of 10,000", _SLEEPING, 0.95, _figure("per_second", of=10_000.0)),
    Aim("insert_many: times River's InsertMany", _MANY, 0.9, _against("river")),
    Aim("insert_many_fast: times River's COPY", _COPY, 0.8, _against("river")),
    Aim("insert one by one: times River's", "insert one by one", 1.0, _against("river")),
    Aim("idle, insert to start, p50 ms", _IDLE, 3.0, _figure("call_p50_ms"), at_most=True),
    Aim("idle, insert to start, p99 ms", _IDLE, 8.0, _figure("call_p99_ms"), at_most=True),
    Aim("resident MB with 100 slots", _NO_OP, 80.0, _figure("rss_mb", _DEFAULTS), at_most=True),
    Aim("connections with 100 slots", _NO_OP, 3.0, _figure("connections", _DEFAULTS), at_most=True),
    Aim("growth of memory over 2 M jobs, MB", _MEMORY, 1.0, _figure("growth_mb"), at_most=True),
)


def table(runs: Sequence[Run]) -> str:
    """All aims in Markdown, each from the last run that has its case."""
    cases = {name: (run, case) for name, run, case in cases_of(runs)}
    lines = [line(["aim", "bar", "measured", "of", "rounds", "met"]), line(["---"] * 6)]
    for aim in AIMS:
        bar = f"{'≤' if aim.at_most else '≥'} {aim.bar:g}"
        run, case = cases.get(aim.case, ({}, None))
        found = None if case is None else aim.measure(case)
        if found is None:
            lines.append(line([aim.what, bar, "-", "-", "-", "not measured"]))
        else:
            figure, of = found
            # As many digits as tell it from the bar.
            digits = 3 if round(figure["median"], 2) == aim.bar != round(figure["median"], 3) else 2
            shown = shown_spread(figure, digits)
            lines.append(line([aim.what, bar, shown, of, str(run["rounds"]), "yes" if aim.met(figure) else "**no**"]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(read()))
