"""What went wrong in a run, in few lines: the tests that failed, from pytest's JUnit reports, each with its message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

MOST_LINES = 60
#: Lines of one failure, its heading included; fewer where there are many.
MOST_OF_ONE = 12
_FEWEST_OF_ONE = 3
_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong.

    Attributes:
        what: the heading, as pytest words it: ``FAILED tests/…::test_…``; ``ERROR`` for what is around a test.
        lines: the statement that failed and what it said.
    """

    what: str
    lines: tuple[str, ...]


def failed_tests(report: Path) -> list[Failure]:
    """The failures of a report.

    Returns:
        Nothing if there is no report: what ran was no pytest, or it was killed.
    """
    if not report.exists():
        return []
    found = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        for kind, word in (("failure", "FAILED"), ("error", "ERROR")):
            found += [Failure(f"{word} {_node(case)}", _lines(problem)) for problem in case.findall(kind)]
    return found


def summary(failures: Sequence[Failure]) -> list[str]:
    """At most ``MOST_LINES`` lines, and one more if not every failure has its place in them."""
    if not failures:
        return []
    each = max(_FEWEST_OF_ONE, min(MOST_OF_ONE, MOST_LINES // len(failures)))
    shown = failures[: MOST_LINES // each]
    lines = [line for one in shown for line in (one.what, *(f"    {text[:_WIDTH]}" for text in one.lines[: each - 1]))]
    if len(shown) < len(failures):
        lines.append(f"and {len(failures) - len(shown)} more")
    return lines


def _node(case: ElementTree.Element) -> str:
    """A test as it is named on pytest's command line; a file that could not be collected has no more than a name."""
    module, name = case.get("classname", ""), case.get("name", "")
    return f"{module.replace('.', '/')}.py::{name}" if module else name


def _lines(problem: ElementTree.Element) -> tuple[str, ...]:
    text = problem.text or ""
    statements = [line[1:].strip() for line in text.splitlines() if line.startswith(">")]
    said = [line.strip() for line in problem.get("message", "").splitlines()]
    return tuple(line for line in (*statements[:1], *said) if line)
