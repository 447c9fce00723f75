"""What a benchmark counts and prints while it runs, and its figures at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TextIO

from rivermill.bench.ending import Ending

#: A number, a text, or figures by name; what JSON can hold.
Figures = dict[str, "float | int | str | Figures"]

#: Seconds between two lines, and between two looks at what has been worked.
_PERIOD = 2.0
_LOOK = 0.01
_MILLISECOND, _SECOND, _MINUTE = 1_000, 1_000_000, 60_000_000  # microseconds


class Board:
    """Counts jobs, and prints a line every two seconds and the totals, in the words of River's ``bench``.

    Its clock starts when the client has started, and stops at the last job worked or inserted: totals, lines and figures are
    of that time.

    Args:
        ending: when to end before all jobs are worked.
        out: where lines go; None prints none.

    Attributes:
        worked: jobs worked, when last looked at.
        inserted: jobs inserted.
    """

    def __init__(self, ending: Ending, out: TextIO | None = sys.stdout) -> None:
        self.ending = ending
        self.worked = 0
        self.inserted = 0
        self._out = out
        self._bodies = 0
        self._count: Callable[[], int] = self._count_bodies
        self._started = self._last = 0.0
        self._seen = self._shown = 0, 0

    def job_worked(self) -> None:
        """Count a job whose body has come to its end."""
        self._bodies += 1

    @property
    def left(self) -> int:
        """Jobs that are inserted and not worked."""
        return self.inserted - self._look()

    async def all_worked(self, jobs: int, patience: float) -> None:
        """Wait until so many have been worked, until the end, or until none was for ``patience`` seconds: one is lost then."""
        while self._look() < jobs and not self.ending.reached and time.monotonic() - self._last < patience:
            await self.ending.wait(_LOOK)

    @asynccontextmanager
    async def running(self, worked: Callable[[], int] | None = None) -> AsyncIterator[None]:
        """The clock runs and lines are printed while the block runs; the totals at its end.

        Args:
            worked: at least how many jobs have been worked, and at the end all; those of ``job_worked`` by default.
        """
        self._count = worked or self._count_bodies
        self._started = self._last = time.monotonic()
        self._seen = 0, self.inserted
        self.ending.start_clock()
        self._print_line(0.0)
        printer = asyncio.create_task(self._print_lines(), name="rivermill bench lines")
        try:
            yield
        finally:
            printer.cancel()
            await asyncio.gather(printer, return_exceptions=True)
            self._look()
            self._print(
                f"bench: total jobs worked [ {self.worked:10d} ], total jobs inserted [ {self.inserted:10d} ], "
                f"overall job/sec [ {self._rate:10.1f} ], running {go_duration(self._last - self._started)}"
            )

    def figures(self) -> Figures:
        """What the totals say."""
        return {"jobs_worked": self.worked, "seconds": self._last - self._started, "jobs_per_second": self._rate}

    @property
    def _rate(self) -> float:
        seconds = self._last - self._started
        return self.worked / seconds if seconds else 0.0

    def _look(self) -> int:
        seen = max(self.worked, self._count()), self.inserted
        if seen != self._seen:
            self._seen, self._last = seen, time.monotonic()
        self.worked = seen[0]
        return self.worked

    def _count_bodies(self) -> int:
        return self._bodies

    async def _print_lines(self) -> None:
        due = self._started
        while True:
            due += _PERIOD
            await asyncio.sleep(due - time.monotonic())
            self._print_line(_PERIOD)

    def _print_line(self, period: float) -> None:
        """Print what has come since the line before, which was ``period`` seconds ago."""
        before, self._shown = self._shown, (self._look(), self.inserted)
        done, came = self._shown[0] - before[0], self._shown[1] - before[1]
        self._print(
            f"bench: jobs worked [ {done:10d} ], inserted [ {came:10d} ], job/sec [ {done / _PERIOD:10.1f} ] [{period:.0f}s]"
        )

    def _print(self, line: str) -> None:
        if self._out is not None:
            print(line, file=self._out, flush=True)


def go_duration(seconds: float) -> str:
    """Seconds as Go prints a duration, to the microsecond: ``1m2.5s``, ``850.25ms``, ``0s``."""
    micros = round(seconds * _SECOND)
    if micros < _MILLISECOND:
        return f"{micros}µs" if micros else "0s"
    if micros < _SECOND:
        return f"{micros / _MILLISECOND:.3f}".rstrip("0").rstrip(".") + "ms"
    minutes, micros = divmod(micros, _MINUTE)
    hours, minutes = divmod(minutes, 60)
    rest = f"{micros / _SECOND:.6f}".rstrip("0").rstrip(".") + "s"
    return f"{hours}h{minutes}m{rest}" if hours else f"{minutes}m{rest}" if minutes else rest


def percentiles(milliseconds: Sequence[float]) -> Figures:
    """The figures of many times; none of no time."""
    if not milliseconds:
        return {}
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
