"""Run tests on Debian's PostgreSQL 15, the oldest supported: a part of the db tier, or what the arguments name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devcluster.debian import program

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PART = (
    "tests/db/test_server.py",
    "tests/db/test_migrate.py",
    "tests/db/test_insert.py",
    "tests/db/test_manage.py",
    "tests/db/store",
)


def main() -> int:
    """Install the server if it is missing, and run pytest; returns its exit code."""
    program(str(PROGRAMS / "initdb"), "postgresql-15")
    env = os.environ | {"POSTGRES_BIN": str(PROGRAMS)}
    env.pop("DATABASE_URL", None)
    pytest = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "--timeout", "600"]
    return subprocess.run([*pytest, *(sys.argv[1:] or PART)], cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
