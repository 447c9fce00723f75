"""Combine what every tier measured, and fail below a share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Combine and report; arguments go to ``coverage report``."""
    for command in (["combine", "--keep", "--quiet", "build/coverage"], ["report", *sys.argv[1:]]):
        code = subprocess.run([sys.executable, "-m", "coverage", *command], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
