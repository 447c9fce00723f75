"""Lock every requirement file: hashes for all platforms, and no download address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
    "--python-version", "3.11",
]  # fmt: skip
OUTPUTS: dict[str, list[str]] = {
    "dev": ["requirements/dev.in", "worker/pyproject.toml", "operator/pyproject.toml", "--extra", "uvloop"],
    "setup": ["requirements/setup.in"],
    "build": ["requirements/build.in"],
    "operator": ["operator/pyproject.toml"],
    "worker": ["worker/pyproject.toml", "--extra", "uvloop"],
}


def main() -> int:
    """Write ``requirements/*.txt``; arguments after the program's name go to uv (``--upgrade``)."""
    uv = Path(sys.executable).with_name("uv")
    for name, sources in OUTPUTS.items():
        command = [str(uv), "pip", "compile", *OPTIONS, *sys.argv[1:], *sources, "-o", f"requirements/{name}.txt"]
        result = subprocess.run(command, cwd=ROOT, check=False)
        if result.returncode != 0:
            return result.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
