"""Child processes that outlive this one: started in sessions of their own, known by pid and start time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError


@dataclass(frozen=True, slots=True)
class Process:
    """A process; a recycled pid has another start time."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _start_time(self.pid) == self.started

    def kill(self, number: signal.Signals, seconds: float) -> bool:
        """Signal it and wait; returns whether it is gone."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return True
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            _reap(self.pid)
            time.sleep(0.02)
        return not self.alive()


def spawn(command: Sequence[str], log: Path, *, env: dict[str, str] | None = None) -> Process:
    """Start a daemon with its output in ``log``."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=env
        )
    started = _start_time(child.pid)
    # A daemon is not this object's to wait for: it is watched, and reaped, by its pid.
    child.returncode = 0
    if started is None:
        raise DevclusterError(f"{command[0]} ended at once; see {log}")
    return Process(child.pid, started)


class Registry:
    """The processes of one cluster, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Process]:
        """Every process that was recorded, alive or not."""
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: Process(**value) for name, value in values.items()}

    def add(self, name: str, process: Process) -> None:
        """Record a process."""
        values = self.load() | {name: process}
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps({n: {"pid": p.pid, "started": p.started} for n, p in values.items()}), encoding="utf-8")
        partial.replace(self._path)


def run(command: Sequence[str], *, check: bool = True, timeout: float = 120, text: str | None = None) -> str:
    """Run a program and return its output.

    Raises:
        DevclusterError: it failed or took longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(list(command), check=False, capture_output=True, text=True, timeout=timeout, input=text)
    except FileNotFoundError as error:
        raise DevclusterError(f"{command[0]} is missing: run `python -m devcluster prepare`") from error
    except subprocess.TimeoutExpired as error:
        raise DevclusterError(f"{' '.join(command)} took longer than {timeout:g} s") from error
    if check and done.returncode != 0:
        raise DevclusterError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def _start_time(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
