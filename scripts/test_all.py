"""Run every tier that this computer can run, and say what was skipped and why.

The report ends with what failed and how, in few lines, with a line for each tier, and with one line of counts: often only the
end of long output is kept.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from scripts.failures import MOST_OF_ONE, Failure, failed_tests, summary

ROOT = Path(__file__).resolve().parent.parent
COVERAGE = ROOT / "build" / "coverage"
REPORTS = ROOT / "build" / "reports"
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
    for folder, old in ((COVERAGE, ".coverage*"), (REPORTS, "*.xml")):
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob(old):
            file.unlink()
    totals, results, failures = {"passed": 0, "failed": 0, "skipped": 0}, [], []
    for tier in TIERS:
        started = time.monotonic()
        if tier.needs_root and os.geteuid() != 0:
            results.append(f"{tier.name}: skipped, it needs root")
            totals["skipped"] += 1
            continue
        sys.stdout.write(f"\n=== {tier.name}\n")
        sys.stdout.flush()
        failed_before = totals["failed"]
        found = _run(tier, totals)
        results.append(f"{tier.name}: {'FAILED' if found else 'ok'} in {time.monotonic() - started:.0f} s")
        if found and totals["failed"] == failed_before:
            totals["failed"] += 1  # what failed is no test
        failures += found
    sys.stdout.write("\n" + "\n".join([*summary(failures), "", *results]) + "\n")
    sys.stdout.write(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped\n")
    return 1 if totals["failed"] else 0


def _run(tier: Tier, totals: dict[str, int]) -> list[Failure]:
    """Run a tier, count what it says, and return what failed."""
    report = REPORTS / f"{tier.name}.xml"
    options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report.relative_to(ROOT)}"
    env = os.environ | {"PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": options.strip()}
    counts, end = "", deque[str](maxlen=MOST_OF_ONE)
    with subprocess.Popen(
        tier.command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            sys.stdout.write(line)
            counts = line if _COUNT.search(line) else counts
            if line.strip():
                end.append(line.rstrip())
    for number, word in _COUNT.findall(counts):
        key = "failed" if word == "error" else word
        totals[key] += int(number)
    if child.returncode == 0:
        return []
    return failed_tests(report) or [Failure(f"FAILED step {tier.name}", tuple(end))]


if __name__ == "__main__":
    sys.exit(main())
