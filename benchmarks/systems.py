"""The systems that are measured: where each comes from, and how its driver is started."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from devcluster import DevclusterError, paths
from devcluster.binaries import find_go
from rivermill import __version__

_HERE = Path(__file__).parent
_DRIVERS = _HERE / "drivers"
#: The peers' environments are made once and kept, a folder for each set of versions.
_PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary")
#: Python is faster with each version; the worker's image has the first of these.
_NEWER_PYTHONS = ("python3.13", "python3.12")
_OLDEST_NEWER = (3, 12)
_NPM_QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class SystemNotAvailableError(Exception):
    """What a system needs is not on this computer."""


class PythonDoesNotRunError(Exception):
    """A Python that is on the ``PATH`` cannot be started, so that an older one would be measured unnoticed."""


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        name: as it is printed.
        command: returns how its driver is started; made ready when first asked for.
        release: what is measured, with its version.
        home: the name of the system whose driver makes and checks the tables; its own by default.
    """

    name: str
    command: Callable[[], list[str]]
    release: str
    home: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is a part of this project, and not one that is compared with it."""
        return self.command is _rivermill


def _rivermill() -> list[str]:
    """With what the worker's image has installed, which runs in Python 3.13."""
    locked, package = _HERE.parent / "requirements" / "worker.txt", _HERE.parent / "worker"
    more = ("--require-hashes", "--requirement", str(locked)), ("--no-deps", "--editable", str(package))
    interpreter = _environment(
        _HERE.parent / "build", "rivermill", _newest_python(), *more, of=locked.read_text(encoding="utf-8")
    )
    return [interpreter, str(_DRIVERS / "rivermill_driver.py")]


def _river() -> list[str]:
    source, go = _HERE / "river", find_go()
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(source.iterdir()))).hexdigest()[:12]
    program = paths.cache() / f"river-bench-{digest}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
        subprocess.run([go, "build", "-o", str(partial), "."], cwd=source, env=env, check=True, timeout=600)
        partial.rename(program)
    return [str(program)]


def _npm(folder: str, driver: str) -> Callable[[], list[str]]:
    """A system of npm, with a Node.js of its own: the lock beside its ``package.json`` holds both."""

    def command() -> list[str]:
        files = [_HERE / folder / name for name in ("package.json", "package-lock.json")]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
        home = paths.cache() / f"peer-{folder}-{digest}"
        if not (home / "ready").exists():
            if shutil.which("npm") is None:
                raise SystemNotAvailableError(f"{folder} needs npm on the PATH")
            home.mkdir(exist_ok=True)
            for file in files:
                shutil.copy(file, home)
            subprocess.run(["npm", "ci", *_NPM_QUIET], cwd=home, check=True, timeout=600)
            (home / "ready").touch()
        node = next(home.glob("node_modules/node-linux-*/bin/node"), None)
        if node is None:
            raise SystemNotAvailableError(f"{folder}: npm has no Node.js for this computer")
        return [str(node), str(_DRIVERS / driver)]

    return command


def _python(name: str, release: str, *more: str, newer: bool = False) -> System:
    """A system of PyPI, in an environment of its own.

    Args:
        name: as it is printed; its driver has this name.
        release: the requirement that installs it.
        more: what its driver needs beside it.
        newer: whether it needs a newer Python than this project does.
    """

    def command() -> list[str]:
        python = _newest_python()
        if newer and python == sys.executable and sys.version_info < _OLDEST_NEWER:
            raise SystemNotAvailableError(f"{name} needs one of {', '.join(_NEWER_PYTHONS)} on the PATH, and that it runs")
        interpreter = _environment(paths.cache(), f"peer-{name}", python, (release, *more))
        return [interpreter, str(_DRIVERS / f"{name}_driver.py")]

    return System(name, command, release)


def _environment(folder: Path, name: str, python: str, *installs: tuple[str, ...], of: str = "") -> str:
    """The interpreter of an environment with what ``pip install`` is told, in a folder; ``of`` is what else it depends on."""
    parts = (python, build_of(python), *chain.from_iterable(installs), of)
    digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]
    home = folder / f"{name}-{digest}"
    interpreter = str(home / "bin" / "python")
    if not (home / "ready").exists():
        subprocess.run([python, "-m", "venv", "--clear", str(home)], check=True, timeout=120)
        for what in installs:
            subprocess.run([interpreter, *_PIP, *what], check=True, timeout=600)
        (home / "ready").touch()
    return interpreter


@cache
def build_of(python: str) -> str:
    """The version of an interpreter, when it was built and with what: one of the same version may be half as fast."""
    command = [python, "-c", "import sys; print(sys.version)"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@cache
def _newest_python() -> str:
    """The interpreter that all systems of Python run in: this one's where no newer one is on the PATH.

    Raises:
        PythonDoesNotRunError: a newer one is there, but a version manager's place holder only, or broken.
    """
    python = next(filter(shutil.which, _NEWER_PYTHONS), None)
    if python is None:
        print(f"none of {', '.join(_NEWER_PYTHONS)} is on the PATH: all Python is {platform.python_version()}", flush=True)
        return sys.executable
    done = subprocess.run([python, "--version"], check=False, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise PythonDoesNotRunError(
            f"{shutil.which(python)} does not run: {(done.stderr or done.stdout).strip().partition(chr(10))[0]}. Take it off "
            "the PATH, or put the folder of one that runs before it; with pyenv, set PYENV_VERSION to one of that release"
        )
    return python


def _required(file: str, module: str) -> str:
    """A module and its version, as a ``go.mod`` or ``package.json`` here requires it."""
    line = next(line for line in (_HERE / file).read_text(encoding="utf-8").splitlines() if module in line)
    return line.replace('"', "").strip(" \t,").removeprefix("require ")


_PSYCOPG = "psycopg[binary,pool]"
_RELEASE = f"rivermill {__version__}"

SYSTEMS = {
    system.name: system
    for system in (
        System("rivermill", _rivermill, _RELEASE),
        System("statements alone", _rivermill, _RELEASE, home="rivermill"),
        System("river", _river, _required("river/go.mod", "riverqueue/river "), home="rivermill"),
        _python("pgqueuer", "pgqueuer[asyncpg]==1.6.0"),
        _python("chancy", "chancy==0.26.0", _PSYCOPG),
        _python("oban", "oban==0.7.0", _PSYCOPG, newer=True),
        _python("procrastinate", "procrastinate==3.10.0", _PSYCOPG),
        _python("awa", "awa-pg==0.6.9", _PSYCOPG),
        System(
            "graphile-worker",
            _npm("graphile", "graphile_driver.mjs"),
            _required("graphile/package.json", "graphile-worker"),
        ),
    )
}


def make_ready(names: Iterable[str]) -> dict[str, str]:
    """Install or build what the systems need, so that no run has to wait for it.

    Returns:
        The systems that cannot be had on this computer, with the reason.

    Raises:
        subprocess.SubprocessError: one of ours could not be installed.
    """
    missing = {}
    for name in names:
        print(f"making {name} ready", flush=True)
        try:
            SYSTEMS[name].command()
        except (SystemNotAvailableError, DevclusterError) as error:
            missing[name] = str(error)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if SYSTEMS[name].ours:
                raise
            missing[name] = f"{name} could not be installed or built: {_why(error)}"
    for name, why in missing.items():
        print(f"{name} is left out: {why}", flush=True)
    return missing


def _why(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    """In words for the report, without the paths of this computer; the program has told the rest by itself."""
    program = Path(error.cmd[0]).name
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{program} did not end within {error.timeout:.0f} s"
    return f"{program} ended with {error.returncode}"
