"""Make the virtual environment: locked dependencies with hashes, then the distributions of this repository, editable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = ("worker", "operator", "examples/library")
OLDEST = (3, 11)


def main() -> int:
    """Build the environment named by the first argument and say what went wrong if it cannot be built."""
    if sys.version_info < OLDEST:
        sys.stderr.write(f"setup: needs Python 3.11 or newer, this is {sys.version.split()[0]}; set PYTHON=python3.11\n")
        return 2
    venv = ROOT / sys.argv[1]
    python = venv / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [*pip, "--require-hashes", "-r", "requirements/dev.txt"],
        [*pip, "--no-deps", "--no-build-isolation", *(arg for member in MEMBERS for arg in ("-e", member))],
    ]
    for step in steps:
        sys.stdout.write(f"setup: {' '.join(Path(step[0]).name if i == 0 else a for i, a in enumerate(step))}\n")
        sys.stdout.flush()
        if subprocess.run(step, cwd=ROOT, check=False).returncode != 0:
            sys.stderr.write(f"setup: this step failed; remove {venv} and run it again once its cause is mended\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
