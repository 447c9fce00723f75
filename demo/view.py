"""What a person sees while the demo runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from devcluster.progress import say

_LINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Moment:
    """The numbers of one moment.

    Attributes:
        pods: Ready ones.
        oldest: seconds that the oldest waiting job has waited.
        sentence: why the fleet has this size, in the operator's words.
    """

    seconds: float
    waiting: int
    running: int
    completed: int
    pods: int
    replicas: int
    oldest: float
    sentence: str

    def cells(self) -> dict[str, str]:
        """Heading and text of every column."""
        return {
            "time": f"{self.seconds:.0f} s",
            "waiting": str(self.waiting),
            "running": str(self.running),
            "completed": str(self.completed),
            "pods": f"{self.pods}/{self.replicas}",
            "oldest wait": f"{self.oldest:.1f} s",
            "operator": self.sentence,
        }

    def line(self) -> str:
        """As one plain line; progress lines begin with a time already."""
        return " | ".join(f"{name} {text}" for name, text in self.cells().items() if name != "time" and text)

    def table(self) -> Table:
        """As a table."""
        table = Table(*self.cells())
        table.add_row(*self.cells().values())
        return table


class View:
    """Shows moments on standard error."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, refresh_per_second=4) if sys.stderr.isatty() else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, moment: Moment) -> None:
        """Show a moment; plain lines are written every two seconds at most."""
        if self._live:
            self._live.update(moment.table())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            say(moment.line())
