"""What a driver runs in: its interpreter and what of its packages matters for speed, asked of the programs themselves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from devcluster.binaries import find_go

#: Distributions that are named where an environment has them.
_PACKAGES = (
    "asyncpg",
    "psycopg",
    "psycopg-binary",
    "uvloop",
    "msgspec",
    "orjson",
    "pgqueuer",
    "chancy",
    "oban",
    "procrastinate",
    "awa-pg",
)
_ASK_PYTHON = """
import importlib.metadata, json, sys
found = {"python": sys.version}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_SECONDS = 60.0


def versions(command: Sequence[str]) -> dict[str, str]:
    """The interpreter or compiler of a driver, and its packages, each with its version.

    Args:
        command: how the driver is started, as ``System.command`` returns it.

    Raises:
        subprocess.CalledProcessError: its program does not run.
    """
    program = command[0]
    name = Path(program).name
    if name.startswith("python"):
        found: dict[str, str] = json.loads(_output(program, "-c", _ASK_PYTHON, *_PACKAGES))
        return found
    if name == "node":
        return {"node": _output(program, "--version").removeprefix("v")}
    return {"go": _output(find_go(), "version", program).rpartition(" ")[2].removeprefix("go")}


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS).stdout.strip()
