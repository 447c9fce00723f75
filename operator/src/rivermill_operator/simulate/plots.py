"""Draws simulations: what waits, runs, how many pods there are, and the wait against its goal; needs the extra ``plots``."""

from __future__ import annotations

import html
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rivermill_operator.simulate.matrix import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = (
    "body{font:14px sans-serif;max-width:75em;margin:2em auto}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}"
)
_HEAD = ("scaler", "within the goal, %", "p95 wait, s", "pod-seconds", "interrupted", "writes")


class PlotsError(ValueError):
    """Nothing can be drawn; the message says what to do."""


def check_installed(directory: Path | None) -> None:
    """Raises PlotsError when drawing is asked for and cannot be done."""
    if directory is not None and importlib.util.find_spec("matplotlib") is None:
        raise PlotsError("--plots needs Matplotlib: pip install 'rivermill-operator[plots]'")


def draw(runs: Sequence[Run], directory: Path) -> None:
    """One PNG for each run that kept its samples, and ``index.html`` with all of them; it needs no other file.

    Args:
        runs: what was simulated.
        directory: is there.
    """
    sections = []
    for run in (run for run in runs if run.samples):
        figure = _figure(run)
        figure.savefig(directory / f"{run.workload.replace(' ', '-')}.png", dpi=120)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg")
        svg = drawing.getvalue()
        sections.append(f"<h2>{html.escape(_title(run))}</h2>{_table(run)}{svg[svg.index('<svg') :]}")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Simulated scaling</title><style>{_STYLE}</style>'
    (directory / "index.html").write_text(f"{page}<h1>Simulated scaling</h1>{''.join(sections)}</html>\n", encoding="utf-8")


def _figure(run: Run) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    figure = Figure(figsize=(10, 9), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    for policy, samples in reversed(run.samples.items()):  # the first lies on top
        hours = [sample.at / 3600 for sample in samples]
        axes[0].plot(hours, [sample.waiting for sample in samples], label=policy)
        axes[1].plot(hours, [sample.running for sample in samples])
        axes[2].step(hours, [sample.pods for sample in samples], where="post")
        axes[3].plot(hours, [sample.strain for sample in samples])
    axes[3].axhline(1.0, color="black", linestyle=":")
    names = ("jobs waiting", "jobs running", "pods", "oldest wait / goal")
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[3].set_xlabel("hours")
    axes[0].legend(loc="upper right", ncols=len(run.samples))
    axes[0].set_title(f"{_title(run)}, seed {run.seed}")
    return figure


def _title(run: Run) -> str:
    """Of several queues each has a line of its own with its goal."""
    goals = [*run.goals.values()]
    return f"{run.workload}, goal {goals[0]:g} s" if len(goals) == 1 else run.workload


def _table(run: Run) -> str:
    rows = ["".join(f"<th>{name}</th>" for name in _HEAD)]
    for policy, outcome in run.outcomes.items():
        cells = (
            policy, f"{outcome.share:.2%}", f"{outcome.p95:.1f}", f"{outcome.pod_seconds:.0f}", f"{outcome.interrupted}",
            f"{outcome.writes}",
        )  # fmt: skip
        rows.append(_row(cells))
        for name, queue in outcome.queues.items() if len(outcome.queues) > 1 else ():
            rows.append(_row((f"{name}, goal {queue.goal:g} s", f"{queue.share:.2%}", f"{queue.p95:.1f}", "", "", "")))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _row(cells: Sequence[str]) -> str:
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
