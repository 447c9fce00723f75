"""Make the virtual environment: locked dependencies with hashes, then the distributions of this repository, editable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = ("worker", "operator", "examples/library")
OLDEST = (3, 11)
#: Where uv looks for what pip is configured with.
_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def main() -> int:
    """Build the environment named by the first argument and say what went wrong if it cannot be built."""
    if sys.version_info < OLDEST:
        sys.stderr.write(f"setup: needs Python 3.11 or newer, this is {sys.version.split()[0]}; set PYTHON=python3.11\n")
        return 2
    venv = ROOT / sys.argv[1]
    python = str(venv / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    uv = [str(venv / "bin" / "uv"), "pip", "install", "--quiet", "--python", python]
    editable = [arg for member in MEMBERS for arg in ("-e", member)]
    done = (
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        and _run([*pip, "install", "--quiet", "--require-hashes", "-r", "requirements/setup.txt"])
        and _run([*uv, "--require-hashes", "-r", "requirements/dev.txt"], _settings(pip))
        and _run([*uv, "--no-deps", "--no-build-isolation", *editable], _settings(pip))
    )
    if not done:
        sys.stderr.write(f"setup: this step failed; remove {venv} and run it again once its cause is mended\n")
    return 0 if done else 1


def _run(command: Sequence[str], settings: dict[str, str] | None = None) -> bool:
    sys.stdout.write(f"setup: {' '.join([Path(command[0]).name, *command[1:]])}\n")
    sys.stdout.flush()
    return subprocess.run(command, cwd=ROOT, check=False, env={**(settings or {}), **os.environ}).returncode == 0


def _settings(pip: Sequence[str]) -> dict[str, str]:
    """What pip is configured with, for uv, which does not read it; uv's own variables win."""
    listing = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    settings = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        variable = _SETTINGS.get(name.rpartition(".")[2])
        if variable is not None:
            settings[variable] = value.strip("'")
    return settings


if __name__ == "__main__":
    sys.exit(main())
