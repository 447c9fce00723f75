"""Run every tier that this computer can run, and say what was skipped and why; one line of counts closes the report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COVERAGE = ROOT / "build" / "coverage"
LEAST_COVERAGE = "80"
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of the run; a tier of tests has a folder."""

    name: str
    command: tuple[str, ...]
    needs_root: bool = False


def _tests(folder: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "coverage", "run", "-m", "pytest", "--timeout", "600", f"tests/{folder}")


TIERS = (
    Tier("lint", ("make", "lint")),
    Tier("types", ("make", "types")),
    Tier("unit", _tests("unit")),
    Tier("db", _tests("db")),
    Tier("db-15", (sys.executable, "-m", "scripts.test_oldest_postgres"), needs_root=True),
    Tier("chaos", _tests("chaos")),
    Tier("interop", _tests("interop")),
    Tier("chart", _tests("chart")),
    Tier("prepare", (sys.executable, "-m", "devcluster", "prepare"), needs_root=True),
    Tier("image", _tests("image"), needs_root=True),
    Tier("cluster", _tests("cluster"), needs_root=True),
    Tier("coverage", (sys.executable, "scripts/coverage_report.py", "--fail-under", LEAST_COVERAGE), needs_root=True),
)


def main() -> int:
    """Run the tiers in order; 1 if any failed."""
    COVERAGE.mkdir(parents=True, exist_ok=True)
    for old in COVERAGE.glob(".coverage*"):
        old.unlink()
    totals, results = {"passed": 0, "failed": 0, "skipped": 0}, []
    for tier in TIERS:
        started = time.monotonic()
        if tier.needs_root and os.geteuid() != 0:
            results.append(f"{tier.name}: skipped, it needs root")
            totals["skipped"] += 1
            continue
        sys.stdout.write(f"\n=== {tier.name}\n")
        sys.stdout.flush()
        failed_before = totals["failed"]
        code = _run(tier, totals)
        results.append(f"{tier.name}: {'ok' if code == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s")
        if code and totals["failed"] == failed_before:
            totals["failed"] += 1  # what failed is no test
    sys.stdout.write("\n" + "\n".join(results) + "\n")
    sys.stdout.write(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped\n")
    return 1 if totals["failed"] else 0


def _run(tier: Tier, totals: dict[str, int]) -> int:
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    last = ""
    with subprocess.Popen(
        tier.command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sys.stdout.write(line)
            last = line if _COUNT.search(line) else last
    for number, word in _COUNT.findall(last):
        key = "failed" if word == "error" else word
        totals[key] += int(number)
    return child.returncode


if __name__ == "__main__":
    sys.exit(main())
