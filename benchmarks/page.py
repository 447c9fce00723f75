"""``python -m benchmarks.page``: keeps each case's last figures in ``docs/benchmarks``, and writes docs/benchmarks.md.

What is kept is what tables are made of, by ``benchmarks.aims`` and ``benchmarks.table``: runs with medians, extremes and the
figure of each round, without series. A case that was not run again stays as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks import aims, table
from benchmarks.report import Run, cases_of, read

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, KEPT = DOCS / "benchmarks.md", DOCS / "benchmarks"


def replaced(page: str, name: str, part: str) -> str:
    """A page with another text between the marks of a name.

    Raises:
        ValueError: the page has no such marks.
    """
    marks = re.compile(rf"(<!-- {name}:begin [^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    made, found = marks.subn(lambda mark: f"{mark[1]}\n{part.strip()}\n\n{mark[2]}", page)
    if found != 1:
        raise ValueError(f"the page has {found} pairs of marks <!-- {name}:begin … --> and <!-- {name}:end -->; give it one")
    return made


def kept(runs: Sequence[Run]) -> list[Run]:
    """Of each case only its last run with all its jobs, without series; runs without any are left out."""
    runs = [run for run in runs if not any(word.startswith("--scale") for word in run["arguments"])]
    last = {name: run["started"] for name, run, _ in cases_of(sorted(runs, key=lambda run: run["started"]))}
    made = []
    for run in sorted(runs, key=lambda run: run["started"]):
        cases = {
            name: case | {"setups": {label: {**setup, "series": {}} for label, setup in case["setups"].items()}}
            for name, case in run["cases"].items()
            if last[name] == run["started"]
        }
        if cases:
            made.append(run | {"cases": cases})
    return made


def main() -> None:
    """Keep the runs of ``build/bench.json`` and write the tables from all that are kept."""
    KEPT.mkdir(exist_ok=True)
    files = {file.stem: json.loads(file.read_text(encoding="utf-8"))["runs"] for file in KEPT.glob("*.json")}
    for run in read():  # one that was kept after fewer of its rounds is replaced
        before = [other for other in files.get(run["what"], []) if other["started"] != run["started"]]
        files[run["what"]] = [*before, run]
    page = PAGE.read_text(encoding="utf-8")
    for what, runs in files.items():
        files[what] = kept(runs)
        (KEPT / f"{what}.json").write_text(json.dumps({"runs": files[what]}, indent=1) + "\n", encoding="utf-8")
        page = replaced(page, what, table.tables(files[what]))
    page = replaced(page, "aims", aims.table([run for runs in files.values() for run in runs]))
    PAGE.write_text(page, encoding="utf-8")
    print("written:", PAGE, *(KEPT / f"{what}.json" for what in files), sep="\n")


if __name__ == "__main__":
    main()
