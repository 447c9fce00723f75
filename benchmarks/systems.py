"""The systems that are measured: where each comes from, and how its driver is started."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devcluster import paths
from devcluster.binaries import find_go

_HERE = Path(__file__).parent
_DRIVERS = _HERE / "drivers"
#: The peers' environments are made once and kept, a folder for each set of versions.
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary")


class SystemNotAvailableError(Exception):
    """What a system needs is not on this computer."""


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: as it is printed.
        command: returns how its driver is started; made ready when first asked for.
        home: the name of the system whose driver makes and checks the tables; its own by default.
    """

    name: str
    command: Callable[[], list[str]]
    home: str = ""


def _rivermill() -> list[str]:
    return [sys.executable, str(_DRIVERS / "rivermill_driver.py")]


def _river() -> list[str]:
    source = _HERE / "river"
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(source.iterdir()))).hexdigest()[:12]
    program = paths.cache() / f"river-bench-{digest}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
        subprocess.run([find_go(), "build", "-o", str(partial), "."], cwd=source, env=env, check=True, timeout=600)
        partial.rename(program)
    return [str(program)]


def _python(name: str, *requirements: str, versions: tuple[str, ...] = ()) -> Callable[[], list[str]]:
    def command() -> list[str]:
        python = next(filter(None, map(shutil.which, versions)), None) if versions else sys.executable
        if python is None:
            raise SystemNotAvailableError(f"{name} needs one of {', '.join(versions)} on the PATH")
        digest = hashlib.sha256(" ".join((python, *requirements)).encode()).hexdigest()[:12]
        home = paths.cache() / f"peer-{name}-{digest}"
        interpreter = home / "bin" / "python"
        if not (home / "ready").exists():
            subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True, timeout=120)
            subprocess.run([str(interpreter), *_PIP, *requirements], check=True, timeout=600)
            (home / "ready").touch()
        return [str(interpreter), str(_DRIVERS / f"{name}_driver.py")]

    return command


SYSTEMS = {
    system.name: system
    for system in (
        System("rivermill", _rivermill),
        System("statements alone", _rivermill, home="rivermill"),
        System("river", _river, home="rivermill"),
        System("pgqueuer", _python("pgqueuer", "pgqueuer[asyncpg]==1.6.0")),
        System("chancy", _python("chancy", "chancy==0.26.0")),
        System("oban", _python("oban", "oban==0.7.0", "psycopg[binary,pool]", versions=("python3.13", "python3.12"))),
        System("procrastinate", _python("procrastinate", "procrastinate==3.10.0", "psycopg[binary,pool]")),
    )
}
