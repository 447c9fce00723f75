"""``python -m benchmarks.page``: keeps each case's last figures in ``docs/benchmarks``, and writes docs/benchmarks.md.

What is kept is what tables are made of, by ``benchmarks.aims`` and ``benchmarks.table``: runs with medians, extremes and the
figure of each round, without series. A case that was not run again as a whole stays as it was: part of its setups, fewer
rounds or fewer jobs take no figure's place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks import aims, table
from benchmarks.report import Run, cases_of, read
from benchmarks.sets import missing

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


def whole(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs with only those cases that are whole, and of each other case which it is and what it lacks."""
    found, others = [], []
    for run in runs:
        lacks = {name: missing(run, name) for name in run["cases"]}
        others += [f"{run['started']}, {name}: {lack}" for name, lack in lacks.items() if lack]
        cases = {name: case for name, case in run["cases"].items() if not lacks[name]}
        if cases:
            found.append(run | {"cases": cases})
    return found, others


def kept(runs: Sequence[Run]) -> list[Run]:
    """Of each case only its last run, without series; runs without any are left out."""
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
    """Keep the whole runs of ``build/bench.json`` and write the tables from all that are kept."""
    KEPT.mkdir(exist_ok=True)
    files = {file.stem: json.loads(file.read_text(encoding="utf-8"))["runs"] for file in KEPT.glob("*.json")}
    runs, others = whole(read())
    for run in runs:  # one that was kept before is replaced
        before = [other for other in files.get(run["what"], []) if other["started"] != run["started"]]
        files[run["what"]] = [*before, run]
    page = PAGE.read_text(encoding="utf-8")
    for what, of_it in files.items():
        files[what] = kept(of_it)
        (KEPT / f"{what}.json").write_text(json.dumps({"runs": files[what]}, indent=1) + "\n", encoding="utf-8")
        page = replaced(page, what, table.tables(files[what]))
    page = replaced(page, "aims", aims.table([run for of_it in files.values() for run in of_it]))
    PAGE.write_text(page, encoding="utf-8")
    print("written:", PAGE, *(KEPT / f"{what}.json" for what in files), sep="\n")
    if others:
        print("not written, since these are not whole:", *others, sep="\n")


if __name__ == "__main__":
    main()
