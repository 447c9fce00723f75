"""The profile of a worker while it drains: samples that py-spy takes of its event loop, as tables of functions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import Case, Setup
from benchmarks.measure import DATABASE, BenchmarkError, check, make_ready
from benchmarks.server import Server
from benchmarks.systems import SYSTEMS

#: Samples a second: looking into C takes a hundredth part of that, in which the worker stands still.
_RATE = 100
_SECONDS = 600.0
#: The frame above which the worker's own begin, and those in which its thread waits for something to do.
_LOOP = re.compile(r"Runner\.run \(asyncio/runners\.py|^run \(asyncio/runners\.py")
_WAITING = ("epoll_wait", "epoll_pwait")
_LINE = re.compile(r":\d+\)$")
_ADDRESS = re.compile(r"^0x[0-9a-f]+")
_SHOWN = 25


class NoProfilerError(Exception):
    """There is no py-spy."""


@dataclass(frozen=True)
class Samples:
    """What the event loop's thread did.

    Attributes:
        waiting: samples in which it waited for something to do.
        busy: all others.
        own: of the busy ones, by the function that ran, C included.
        total: by each Python function that ran or waited for what it called.
    """

    waiting: int
    busy: int
    own: Counter[str]
    total: Counter[str]


def py_spy() -> str:
    """The profiler beside this interpreter or on the ``PATH``.

    Raises:
        NoProfilerError: there is none.
    """
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise NoProfilerError(
            "py-spy is neither in this environment nor on the PATH: pip install py-spy, e.g. in one of its own"
        )
    return found


def sample(postgres: Server, case: Case, setup: Setup) -> tuple[Samples, dict[str, Any]]:
    """Run a drain once under py-spy, checked.

    Returns:
        The samples, and the driver's figures.

    Raises:
        BenchmarkError: it failed, or jobs were lost or run twice.
    """
    make_ready(postgres, case, setup)
    driver = [*SYSTEMS[setup.system].command(), case.mode, f"--url={postgres.url(DATABASE)}"]
    driver += [f"--jobs={setup.jobs or case.jobs}", *case.flags, *setup.flags]
    with TemporaryDirectory() as directory:
        raw = Path(directory) / "samples"
        command = [py_spy(), "record", "--native", "--threads", "--format=raw", f"--rate={_RATE}", f"--output={raw}"]
        ran = subprocess.run([*command, "--", *driver], capture_output=True, text=True, check=False, timeout=_SECONDS)
        lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
        if ran.returncode != 0 or not lines:
            raise BenchmarkError(f"{case.name}, {setup.label}: py-spy ended with {ran.returncode}: {ran.stderr[-1000:]}")
        samples = counted(raw.read_text(encoding="utf-8").splitlines())
    figures: dict[str, Any] = json.loads(lines[-1])
    check(postgres, case, setup, figures["ran"])
    return samples, figures


def counted(lines: Iterable[str]) -> Samples:
    """Samples from py-spy's lines, each a stack from its root with semicolons between, and how often it was seen.

    Only the main thread within its event loop counts: not the imports before, and not the thread that listens, which waits.
    """
    waiting, busy, own, total = 0, 0, Counter[str](), Counter[str]()
    for line in lines:
        stack, _, text = line.rpartition(" ")
        frames, count = stack.split(";"), int(text)
        loops = [place for place, frame in enumerate(frames) if _LOOP.search(frame)]
        if "MainThread" not in frames[0] or not loops:
            continue
        inside = [_ADDRESS.sub("(no name)", _LINE.sub(")", frame)) for frame in frames[loops[-1] + 1 :]]
        if not inside or inside[-1].startswith(_WAITING):
            waiting += count
            continue
        busy += count
        own[inside[-1]] += count
        total.update(dict.fromkeys((frame for frame in inside if frame.endswith(".py)")), count))
    return Samples(waiting, busy, own, total)


def tables(samples: Samples, us_a_job: float) -> list[str]:
    """In Markdown: what took the time by itself, and what with all that it called.

    Args:
        samples: of one drain.
        us_a_job: processor time of a job in microseconds, which the shares are taken of.
    """
    seen = samples.waiting + samples.busy
    said = (
        f"{seen:,} samples, {samples.waiting / max(1, seen):.0%} of them waiting; of the other {samples.busy:,}, with the "
        f"{us_a_job:.1f} µs of processor time that a job took:"
    )
    return [
        said,
        _table("function, by itself", samples.own.most_common(_SHOWN), samples.busy, us_a_job),
        _table("Python function, with what it calls", samples.total.most_common(_SHOWN), samples.busy, us_a_job),
    ]


def _table(head: str, counts: Sequence[tuple[str, int]], all_of_them: int, us_a_job: float) -> str:
    lines = [f"| {head} | samples | share | µs a job |", "|---" * 4 + "|"]
    for name, count in counts:
        share = count / all_of_them
        lines.append(f"| `{name}` | {count:,} | {share:.1%} | {share * us_a_job:.2f} |")
    return "\n".join(lines)
