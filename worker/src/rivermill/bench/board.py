"""What a benchmark counts and prints while it runs, and its figures at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TextIO

#: A number, a text, or figures by name; what JSON can hold.
Figures = dict[str, "float | int | str | Figures"]

_PERIOD = 2.0


class Board:
    """Counts jobs, and prints a line every two seconds as River's ``bench`` does.

    Args:
        out: where lines go; None prints none.
    """

    def __init__(self, out: TextIO | None = sys.stdout) -> None:
        self._out = out
        self.worked = 0
        self.inserted = 0
        self._awaited = -1
        self._reached = asyncio.Event()

    def job_worked(self) -> None:
        """Count a job that has been worked."""
        self.worked += 1
        if self.worked == self._awaited:
            self._reached.set()

    async def all_worked(self, jobs: int) -> None:
        """Wait until so many have been worked."""
        if self.worked < jobs:
            self._awaited = jobs
            await self._reached.wait()

    @asynccontextmanager
    async def printing(self) -> AsyncIterator[None]:
        """Print while the block runs, and the totals at its end."""
        started = time.monotonic()
        printer = asyncio.create_task(self._print_lines(), name="rivermill bench lines")
        try:
            yield
        finally:
            printer.cancel()
            await asyncio.gather(printer, return_exceptions=True)
            seconds = time.monotonic() - started
            self._print(
                f"bench: total jobs worked [ {self.worked:10d} ], total jobs inserted [ {self.inserted:10d} ], "
                f"overall job/sec [ {self.worked / seconds:10.1f} ], running {seconds:.3f}s"
            )

    async def _print_lines(self) -> None:
        worked, inserted = self.worked, self.inserted
        while True:
            await asyncio.sleep(_PERIOD)
            done, came = self.worked - worked, self.inserted - inserted
            worked, inserted = self.worked, self.inserted
            self._print(
                f"bench: jobs worked [ {done:10d} ], inserted [ {came:10d} ], "
                f"job/sec [ {done / _PERIOD:10.1f} ] [{_PERIOD:.0f}s]"
            )

    def _print(self, line: str) -> None:
        if self._out is not None:
            print(line, file=self._out, flush=True)


def percentiles(milliseconds: Sequence[float]) -> Figures:
    """The figures of many times."""
    ordered = sorted(milliseconds)
    names = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    return {f"{name}_ms": round(ordered[max(0, int(len(ordered) * part + 0.999) - 1)], 3) for name, part in names.items()}


def table(figures: Figures, prefix: str = "") -> list[tuple[str, str]]:
    """Figures as lines of name and value, those within others after their name."""
    lines: list[tuple[str, str]] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            lines += table(value, f"{prefix}{name} ")
        else:
            text = f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
            lines.append((prefix + name.replace("_", " "), text))
    return lines
