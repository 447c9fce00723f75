"""``python -m benchmarks.plots``: draws ``build/bench.json`` into PNG files beside it, one for each case of each run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import BUILD, Run, cases_of, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {"per_second": "jobs/s", "call_p50_ms": "ms from the call of the insert to the start, median of all jobs"}
_CPU = {"client_us": "client", "server_us": "server"}


def draw(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Draw every case; returns the files.

    Args:
        runs: as ``report.read`` has them.
        directory: where the files go; it exists.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to load

    files = []
    for name, run, case in cases_of(runs):
        panels = _panels(case)
        height = 1.2 + 0.35 * len(case["setups"])
        figure = Figure(figsize=(11, max(height, 2.5) * len(panels)), layout="constrained")
        figure.suptitle(f"{name}, {run['started'][:10]}, {run['rounds']} rounds")
        for axes, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
            panel(axes, case["setups"], case["figure"])
        files.append(directory / f"bench-{_slug(name)}-{_slug(run['started'][:19])}.png")
        figure.savefig(files[-1], dpi=120)
    return files


def _panels(case: dict[str, Any]) -> list[Callable[[Axes, dict[str, Any], str], None]]:
    setups = case["setups"].values()
    panels: list[Callable[[Axes, dict[str, Any], str], None]] = [_rates]
    if all(_CPU.keys() <= setup["figures"].keys() for setup in setups):
        panels.append(_costs)
    if any("memory" in setup["series"] for setup in setups):
        panels.append(_memory)
    return panels


def _rates(axes: Axes, setups: dict[str, Any], figure: str) -> None:
    """The figure that ratios are made of: its median, and from the least to the most."""
    spreads = [setup["figures"][figure] for setup in setups.values()]
    medians = [spread["median"] for spread in spreads]
    below = [spread["median"] - spread["least"] for spread in spreads]
    above = [spread["most"] - spread["median"] for spread in spreads]
    axes.barh(list(setups), medians, xerr=[below, above], capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(_UNITS[figure])


def _costs(axes: Axes, setups: dict[str, Any], _: str) -> None:
    """CPU time of a job, client and server one behind the other."""
    left = [0.0] * len(setups)
    for figure, label in _CPU.items():
        values = [setup["figures"][figure]["median"] for setup in setups.values()]
        axes.barh(list(setups), values, left=left, label=label)
        left = [before + value for before, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("CPU µs a job")
    axes.legend()


def _memory(axes: Axes, setups: dict[str, Any], _: str) -> None:
    """Memory as jobs are worked."""
    for label, setup in setups.items():
        samples = setup["series"].get("memory", [])
        axes.plot([ran for ran, _ in samples], [memory for _, memory in samples], label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("jobs worked")
    axes.set_ylabel("RSS MB")
    axes.legend()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    for path in draw(read(), BUILD):
        print(path)
