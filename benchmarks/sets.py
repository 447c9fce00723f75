"""The cases of each invocation, and what makes a run of one whole."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import CASES, Case
from benchmarks.growth import GROWTH, MEMORY
from benchmarks.report import Run
from benchmarks.rounds import described

#: The cases of each, and how often they are run.
SETS: dict[str, tuple[tuple[Case, ...], int]] = {"peers": (CASES, 5), "growth": (GROWTH, 3), "memory": (MEMORY, 1)}


def missing(run: Run, name: str) -> str:
    """What a run's case lacks to stand in the place of the one before; empty where it is whole.

    It is whole with at least the usual rounds of every setup that the case has now, settings and jobs included. A system that
    could not be had and a setup that failed are told beside the figures, so they are not missing.

    Args:
        run: as the report has it.
        name: of one of its cases.
    """
    cases, usual = SETS[run["what"]]
    case = next((case for case in cases if case.name == name), None)
    if case is None:
        return "there is no such case any more"
    if run["rounds"] < usual:
        return f"{run['rounds']} of {usual} rounds"
    found: dict[str, Any] = run["cases"][name]
    wanted = {setup.label: described(case, setup) for setup in case.without(run["left_out"]).setups}
    absent = [label for label in wanted if label not in found["setups"] and label not in found["failed"]]
    if absent:
        return f"without {'; '.join(absent)}"
    others = [
        label
        for label, setup in found["setups"].items()
        if label not in wanted or any(setup[key] != value for key, value in wanted[label].items())
    ]
    return f"other settings or jobs than now: {'; '.join(others)}" if others else ""
