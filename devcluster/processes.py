"""Child processes that outlive this one: started in sessions of their own, known by pid and start time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError

#: In the environment of every process of a cluster, so that one that was never recorded is found too.
_MARK = "RIVERMILL_DEVCLUSTER"
_KILL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process; a recycled pid has another start time."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process still runs, or any of its threads."""
        return _start_time(self.pid) == self.started

    def kill(self) -> None:
        """End it at once and wait until it is gone.

        Raises:
            DevclusterError: it does not end.
        """
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + _KILL_SECONDS
        while self.alive():
            if time.monotonic() > deadline:
                raise DevclusterError(f"process {self.pid} does not end though it was killed")
            time.sleep(0.02)
        _reap(self.pid)


class Registry:
    """The processes of one cluster, in a file of its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "processes.json"

    def load(self) -> dict[str, Process]:
        """Every process that was recorded, alive or not."""
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: Process(**value) for name, value in values.items()}

    def spawn(self, name: str, command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> Process:
        """Start a daemon with its output in ``log``, and record it in the place of an earlier one of its name."""
        marked = {**(os.environ if env is None else env), _MARK: str(self._directory)}
        with log.open("ab") as output:
            child = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=marked
            )
        started = _start_time(child.pid)
        # A daemon is not this object's to wait for: it is watched, and reaped, by its pid.
        child.returncode = 0
        if started is None:
            raise DevclusterError(f"{command[0]} ended at once; see {log}")
        process = Process(child.pid, started)
        self._write(self.load() | {name: process})
        return process

    def kill(self, name: str) -> None:
        """End one process at once; it stays recorded, so that the cluster counts as broken until it is started again.

        Raises:
            DevclusterError: it does not end.
        """
        process = self.load().get(name)
        if process is not None:
            process.kill()

    def kill_all(self) -> None:
        """End every process of this cluster, also one that was started by an ``up`` that died before it was recorded."""
        for process in [*self.load().values(), *self._marked()]:
            process.kill()

    def _marked(self) -> list[Process]:
        mark = f"{_MARK}={self._directory}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            started = _start_time(int(entry.name))
            if mark in environment and started is not None:
                found.append(Process(int(entry.name), started))
        return found

    def _write(self, processes: Mapping[str, Process]) -> None:
        values = {name: {"pid": p.pid, "started": p.started} for name, p in processes.items()}
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(values), encoding="utf-8")
        partial.replace(self._path)


def run(command: Sequence[str], *, check: bool = True, timeout: float = 120, text: str | None = None) -> str:
    """Run a program and return its output.

    Raises:
        DevclusterError: it is missing, it failed, or it took longer than ``timeout`` seconds.
    """
    done = attempt(command, timeout=timeout, text=text)
    if check and done.returncode != 0:
        raise DevclusterError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


def attempt(command: Sequence[str], *, timeout: float = 120, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program and return what came of it.

    Raises:
        DevclusterError: it is missing, or it took longer than ``timeout`` seconds.
    """
    try:
        return subprocess.run(list(command), check=False, capture_output=True, text=True, timeout=timeout, input=text)
    except FileNotFoundError as error:
        raise DevclusterError(f"{command[0]} is missing: run `python -m devcluster prepare`") from error
    except subprocess.TimeoutExpired as error:
        raise DevclusterError(f"{' '.join(command)} took longer than {timeout:g} s") from error


def _start_time(pid: int) -> str | None:
    """Boot and clock ticks since it, which no other process of this pid shares."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # The first thread can have ended while others hold the process's ports and files yet.
    ended = fields[0] == "Z" and fields[17] == "1"
    return None if ended else f"{boot}/{fields[19]}"


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
